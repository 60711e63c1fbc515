"""HTTP/1.1 without I/O: bytes in, requests out; answers in, bytes out. No socket, clock or task inside.

`heads` reads heads (httptools is the parser), `chunks` the bodies in pieces, `connection` is the order of things on one
connection, `replies` what is written.
"""
