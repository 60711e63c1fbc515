"""`python -m dodona.cli`: the `dodona` command by its interpreter."""

from dodona.cli.app import main

if __name__ == "__main__":
    main()
