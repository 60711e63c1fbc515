"""Transcripts: events with their time, and below each what the supervision does. See transcript.py for the notation."""

from serving.agent.plan import Bounds, Found
from serving.agent.supervision import Supervision
from serving.spec import ModelSpec
from tests.serving.agent.transcript import play


def test_start_gives_one_worker_per_framework():
    """Versions found together share a process per framework, and loading them is reported step by step."""
    play("""
        > 0 found onnx:digits/1#a xgboost:cancer/1#b onnx:digits/2#c
        start onnx-1: digits/1#a digits/2#c
        start xgboost-1: cancer/1#b
        > 1 started onnx-1
        > 1 index
        digits/1 LOADING
        cancer/1 LOADING
        digits/2 LOADING
        > 1 ready onnx-1 digits/1
        > 2 ready onnx-1 digits/2
        > 2 ready xgboost-1 cancer/1
        > 2 index
        digits/1 READY
        cancer/1 READY
        digits/2 READY
        > 2 tick
        > 2 found onnx:digits/1#a xgboost:cancer/1#b onnx:digits/2#c
    """)


def test_new_version_loads_in_a_fresh_process():
    """A version added later never touches the process that serves; removing the old one drains that process."""
    play("""
        > 0 found onnx:digits/1#a
        start onnx-1: digits/1#a
        > 1 ready onnx-1 digits/1
        > 5 found onnx:digits/1#a onnx:digits/2#b
        start onnx-2: digits/2#b
        > 6 ready onnx-2 digits/2
        > 9 found onnx:digits/2#b
        drain onnx-1
        > 9 index
        digits/2 READY
        digits/1 UNLOADING
        > 10 drained onnx-1
        > 10 exited onnx-1 0
        > 10 index
        digits/2 READY
    """)


def test_removing_one_of_two_unloads_only_that_one():
    """A process that still serves something goes on; it is drained when its last version goes."""
    play("""
        > 0 found onnx:a/1#a onnx:b/1#b
        start onnx-1: a/1#a b/1#b
        > 1 ready onnx-1 a/1
        > 1 ready onnx-1 b/1
        > 2 found onnx:b/1#b
        unload onnx-1 a/1
        > 2 tick
        > 3 unloaded onnx-1 a/1
        > 4 found
        drain onnx-1
    """)


def test_changed_files_are_made_before_the_old_are_broken():
    """The earlier content serves until the new one is ready."""
    play("""
        > 0 found onnx:iris/1#a
        start onnx-1: iris/1#a
        > 1 ready onnx-1 iris/1
        > 2 found onnx:iris/1#b
        start onnx-2: iris/1#b
        > 2 index
        iris/1 READY
        > 3 ready onnx-2 iris/1
        drain onnx-1
        > 4 exited onnx-1 0
        > 4 index
        iris/1 READY
    """)


def test_changed_files_that_fail_leave_the_earlier_ones_serving():
    """A broken replacement is reported but takes nothing away, and is retried when the files change once more."""
    play("""
        > 0 found onnx:iris/1#a
        start onnx-1: iris/1#a
        > 1 ready onnx-1 iris/1
        > 2 found onnx:iris/1#b
        start onnx-2: iris/1#b
        > 3 failed onnx-2 iris/1 bad golden row 3
        drain onnx-2
        > 3 exited onnx-2 0
        > 3 index
        iris/1 READY: its files have changed and cannot be served, the earlier ones still are: bad golden row 3
        > 9 found onnx:iris/1#c
        start onnx-3: iris/1#c
        > 10 ready onnx-3 iris/1
        drain onnx-1
    """)


def test_files_that_change_again_while_loading():
    """A load of content that is gone already is dropped for the newest."""
    play("""
        > 0 found onnx:iris/1#a
        start onnx-1: iris/1#a
        > 1 found onnx:iris/1#b
        drain onnx-1
        start onnx-2: iris/1#b
        > 2 ready onnx-1 iris/1
        > 3 exited onnx-1 0
        > 4 ready onnx-2 iris/1
        > 4 index
        iris/1 READY
    """)


def test_half_copied_version_waits_until_complete():
    """An incomplete version is UNAVAILABLE with its reason and loaded as soon as it is whole."""
    play("""
        > 0 found "onnx:iris/1#a?model.onnx has 120 of 4096 bytes so far"
        > 0 index
        iris/1 UNAVAILABLE: model.onnx has 120 of 4096 bytes so far
        > 1 found onnx:iris/1#b
        start onnx-1: iris/1#b
    """)


def test_version_overwritten_in_place_keeps_serving():
    """While the files of a served version are half-written, the loaded ones go on."""
    play("""
        > 0 found onnx:iris/1#a
        start onnx-1: iris/1#a
        > 1 ready onnx-1 iris/1
        > 2 found onnx:iris/1#b?incomplete
        > 2 index
        iris/1 READY: its files have changed and cannot be served, the earlier ones still are: incomplete
        > 3 found onnx:iris/1#c
        start onnx-2: iris/1#c
    """)


def test_broken_model_folder_does_not_disturb_the_rest():
    """A fault of the whole model folder is reported without a version, and nothing is started for it."""
    play("""
        > 0 found "onnx:bad/#x!model.yaml: unknown key" onnx:good/1#a
        start onnx-1: good/1#a
        > 1 ready onnx-1 good/1
        > 1 index
        bad/ FAILED: model.yaml: unknown key
        good/1 READY
    """)


def test_failed_version_is_retried_only_when_it_changes():
    """A clean refusal is a verdict; its neighbours in the same process serve on."""
    play("""
        > 0 found onnx:a/1#a onnx:b/1#b
        start onnx-1: a/1#a b/1#b
        > 1 failed onnx-1 a/1 wrong digest of model.onnx
        > 2 ready onnx-1 b/1
        > 3 index
        a/1 FAILED: wrong digest of model.onnx
        b/1 READY
        > 900 tick
        > 901 found onnx:a/1#c onnx:b/1#b
        start onnx-2: a/1#c
        > 902 ready onnx-2 a/1
        > 902 index
        a/1 READY
        b/1 READY
    """)


def test_worker_in_which_everything_failed_is_drained():
    """A process with nothing left to serve is not kept."""
    play("""
        > 0 found onnx:a/1#a
        start onnx-1: a/1#a
        > 1 failed onnx-1 a/1
        drain onnx-1
        > 2 exited onnx-1 0
        > 2 index
        a/1 FAILED: the worker gave no reason
    """)


def test_death_while_loading_several_isolates_the_culprit():
    """Each unfinished version is retried alone; the innocent loads, the culprit is given up after three deaths."""
    play("""
        > 0 found onnx:a/1#a onnx:b/1#b onnx:c/1#c
        start onnx-1: a/1#a b/1#b c/1#c
        > 1 ready onnx-1 a/1
        > 2 exited onnx-1 -11
        > 2 index
        a/1 LOADING: its worker was lost (killed by SIGSEGV), starting another
        b/1 LOADING: its worker was lost (killed by SIGSEGV), starting another
        c/1 LOADING: its worker was lost (killed by SIGSEGV), starting another
        > 2 wake
        2.5
        > 2.4 tick
        > 2.5 tick
        start onnx-2: a/1#a
        start onnx-3: b/1#b
        start onnx-4: c/1#c
        > 3 ready onnx-2 a/1
        > 3 ready onnx-3 b/1
        > 3 exited onnx-4 -11
        > 3.9 tick
        > 4 tick
        start onnx-5: c/1#c
        > 5 exited onnx-5 -11
        > 5 index
        a/1 READY
        b/1 READY
        c/1 FAILED: its worker died 3 times in a row while loading it: killed by SIGSEGV
        > 500 tick
        > 501 found onnx:a/1#a onnx:b/1#b onnx:c/1#d
        start onnx-6: c/1#d
    """)


def test_death_while_serving_is_restarted_with_back_off():
    """The delay doubles with each death in a row up to the bound and starts over after a healthy minute."""
    play(
        """
        > 0 found onnx:a/1#a onnx:b/1#b
        start onnx-1: a/1#a b/1#b
        > 1 ready onnx-1 a/1
        > 1 ready onnx-1 b/1
        > 10 exited onnx-1 -9
        > 10 index
        a/1 LOADING: its worker was lost (killed by SIGKILL), starting another
        b/1 LOADING: its worker was lost (killed by SIGKILL), starting another
        > 10.5 tick
        start onnx-2: a/1#a b/1#b
        > 11 ready onnx-2 a/1
        > 11 ready onnx-2 b/1
        > 20 exited onnx-2 -9
        > 20.9 tick
        > 21 tick
        start onnx-3: a/1#a b/1#b
        > 22 ready onnx-3 a/1
        > 22 ready onnx-3 b/1
        > 30 exited onnx-3 1
        > 31 wake
        31.5
        > 31.5 tick
        start onnx-4: a/1#a b/1#b
        > 32 ready onnx-4 a/1
        > 32 ready onnx-4 b/1
        > 92 exited onnx-4 -9
        > 92.5 tick
        start onnx-5: a/1#a b/1#b
        """,
        Bounds(restart_delay_max_s=1.5),
    )


def test_replicas_each_serve_every_version():
    """With two replicas a version is ready while one of them is, and only the lost one is restarted."""
    play(
        """
        > 0 found onnx:a/1#a
        start onnx-1: a/1#a
        start onnx-2: a/1#a
        > 1 ready onnx-1 a/1
        > 1 index
        a/1 READY
        > 2 ready onnx-2 a/1
        > 3 exited onnx-1 -9
        > 3 index
        a/1 READY
        > 4 tick
        start onnx-3: a/1#a
        """,
        replicas=2,
    )


def test_framework_without_replicas_is_reported():
    """A framework that is switched off says by which key."""
    play(
        """
        > 0 found onnx:a/1#a
        > 0 index
        a/1 UNAVAILABLE: workers.onnx.replicas is 0 here
        """,
        replicas=0,
    )


def test_few_workers_load_at_once():
    """The bound on loading workers makes the rest wait their turn."""
    play(
        """
        > 0 found onnx:a/1#a xgboost:b/1#b python:c/1#c
        start onnx-1: a/1#a
        start python-1: c/1#c
        > 1 ready onnx-1 a/1
        start xgboost-1: b/1#b
        """,
        Bounds(max_loading=2),
    )


def test_load_without_progress_is_killed_and_counts_as_a_death():
    """A hanging load is ended after its bound; a status line is progress."""
    play(
        """
        > 0 found onnx:a/1#a
        start onnx-1: a/1#a
        > 5 loading onnx-1 a/1
        > 5 wake
        15.0
        > 10 tick
        > 15 tick
        kill onnx-1: made no progress for 10 s (supervise.load_timeout_s)
        > 16 tick
        > 16 exited onnx-1 -9
        > 16 index
        a/1 FAILED: its worker died once while loading it: made no progress for 10 s (supervise.load_timeout_s)
        """,
        Bounds(load_timeout_s=10, load_attempts=1),
    )


def test_operator_unloads_and_loads():
    """An unloaded model and its new versions stay away until it is loaded; each wish is answered when it is done."""
    play("""
        > 0 found onnx:a/1#a
        start onnx-1: a/1#a
        > 1 ready onnx-1 a/1
        > 2 unload 7 a
        drain onnx-1
        > 2 index
        a/1 UNLOADING: unloaded by an operator; load it to serve it again
        > 3 exited onnx-1 0
        answer 7 OK
        > 3 found onnx:a/1#a onnx:a/2#b
        > 3 index
        a/1 UNAVAILABLE: unloaded by an operator; load it to serve it again
        a/2 UNAVAILABLE: unloaded by an operator; load it to serve it again
        > 4 load 8 a
        start onnx-2: a/1#a a/2#b
        > 5 ready onnx-2 a/1
        > 6 ready onnx-2 a/2
        answer 8 OK
    """)


def test_operator_learns_why_a_load_failed():
    """Loading tries a failed version again, and the answer carries the new reason."""
    play("""
        > 0 found onnx:a/1#a
        start onnx-1: a/1#a
        > 1 failed onnx-1 a/1 no GPU
        drain onnx-1
        > 2 exited onnx-1 0
        > 3 load 1 a
        start onnx-2: a/1#a
        > 4 failed onnx-2 a/1 no GPU here either
        drain onnx-2
        answer 1 FAILED_PRECONDITION: version 1: no GPU here either
        > 5 load 2 nosuch
        answer 2 NOT_FOUND: model 'nosuch' is not in the repository
    """)


def test_load_of_a_ready_model_is_answered_at_once():
    """Nothing changes and nothing is started."""
    play("""
        > 0 found onnx:a/1#a
        start onnx-1: a/1#a
        > 1 ready onnx-1 a/1
        > 2 load 1 a
        answer 1 OK
    """)


def test_load_of_an_incomplete_model_says_so():
    """The operator is not kept waiting for files that may never come."""
    play("""
        > 0 found onnx:a/1#a?incomplete
        > 2 load 1 a
        answer 1 UNAVAILABLE: version 1: incomplete
    """)


def test_opposite_wish_overrules():
    """An unload while a load is under way answers the load, and the other way round."""
    play("""
        > 0 found onnx:a/1#a
        start onnx-1: a/1#a
        > 1 load 1 a
        > 2 unload 2 a
        drain onnx-1
        answer 1 ABORTED: model 'a': a later request asked for the opposite
        > 3 load 3 a
        start onnx-2: a/1#a
        answer 2 ABORTED: model 'a': a later request asked for the opposite
        > 4 exited onnx-1 0
        > 5 ready onnx-2 a/1
        answer 3 OK
    """)


def test_model_that_left_forgets_that_it_was_unloaded():
    """A folder that is removed and added again is served again."""
    play("""
        > 0 found onnx:a/1#a
        start onnx-1: a/1#a
        > 1 ready onnx-1 a/1
        > 2 unload 1 a
        drain onnx-1
        > 3 exited onnx-1 0
        answer 1 OK
        > 4 found
        > 5 found onnx:a/1#a
        start onnx-2: a/1#a
    """)


def test_drain_ends_everything_and_kills_what_does_not_end():
    """Nothing is restarted while the agent goes; a worker that hangs is killed after the grace."""
    play(
        """
        > 0 found onnx:a/1#a xgboost:b/1#b
        start onnx-1: a/1#a
        start xgboost-1: b/1#b
        > 1 ready onnx-1 a/1
        > 2 drain
        drain onnx-1
        drain xgboost-1
        > 3 exited onnx-1 -9
        > 3 found onnx:a/1#z
        > 3 wake
        7.0
        > 7 tick
        kill xgboost-1: was still draining after 5 s
        > 7 exited xgboost-1 -9
        > 7 wake
        None
        """,
        Bounds(drain_grace_s=5),
    )


def test_events_of_unknown_workers_change_nothing():
    """A late line of a process that has gone is not an error."""
    play("""
        > 0 ready onnx-9 a/1
        > 0 exited onnx-9 0
        > 1 found onnx:a/1#a
        start onnx-1: a/1#a
        > 1 ready onnx-1 b/1
        > 1 index
        a/1 LOADING
    """)


def test_a_version_whose_run_hangs_comes_back_in_a_process_of_its_own():
    """The others are served where they are until a fresh process serves them; then the old one goes."""
    play("""
        > 0 found onnx:a/1#a onnx:b/1#b
        start onnx-1: a/1#a b/1#b
        > 1 ready onnx-1 a/1
        > 1 ready onnx-1 b/1
        > 9 stuck onnx-1 a/1 a run did not end
        start onnx-2: b/1#b
        > 9 index
        a/1 LOADING: its worker was lost (a run did not end), starting another
        b/1 READY
        > 9 wake
        9.5
        > 9.5 tick
        start onnx-3: a/1#a
        > 10 ready onnx-2 b/1
        drain onnx-1
        > 11 ready onnx-3 a/1
        > 11 exited onnx-1 0
        > 11 index
        a/1 READY
        b/1 READY
    """)


def test_a_lone_version_whose_run_hangs_waits_ever_longer():
    """Its process goes at once, since it serves nothing else; one that does not go is killed."""
    play("""
        > 0 found onnx:a/1#a
        start onnx-1: a/1#a
        > 1 ready onnx-1 a/1
        > 5 stuck onnx-1 a/1 hangs
        drain onnx-1
        > 5.5 tick
        start onnx-2: a/1#a
        > 6 ready onnx-2 a/1
        > 8 stuck onnx-2 a/1 hangs
        drain onnx-2
        > 8.5 tick
        > 9 tick
        start onnx-3: a/1#a
        > 35 tick
        kill onnx-1: was still draining after 30 s
    """)


def test_a_silent_worker_is_killed_and_replaced():
    """After `silence_timeout_s` and a second look; one that loads has `load_timeout_s` instead."""
    play("""
        > 0 found onnx:a/1#a
        start onnx-1: a/1#a
        > 1 alive onnx-1
        > 40 tick
        > 50 ready onnx-1 a/1
        > 60 alive onnx-1
        > 60 wake
        90.0
        > 90 tick
        > 90 wake
        91.0
        > 91 tick
        kill onnx-1: gave no sign of life for 30 s (supervise.silence_timeout_s)
        > 91 exited onnx-1 -9
        > 91 index
        a/1 LOADING: its worker was lost (gave no sign of life for 30 s (supervise.silence_timeout_s)), starting another
        > 91.5 tick
        start onnx-2: a/1#a
    """)


def test_a_supervision_that_slept_kills_nobody():
    """After a pause of its own the signs of life that waited for it count before the second look."""
    play("""
        > 0 found onnx:a/1#a
        start onnx-1: a/1#a
        > 1 alive onnx-1
        > 1 ready onnx-1 a/1
        > 500 tick
        > 500.1 alive onnx-1
        > 501 tick
        > 501 wake
        530.1
    """)


def test_a_worker_that_never_gave_a_sign_of_life_is_not_expected_to():
    """Only its end, its drain and its loads are watched."""
    play("""
        > 0 found onnx:a/1#a
        start onnx-1: a/1#a
        > 1 ready onnx-1 a/1
        > 1 wake
        None
    """)


def test_replicas_of_a_model_go_up_and_down():
    """model.yaml may ask for more replicas than others of the framework have, and for fewer again: nothing that serves
    is loaded anew, and what is no longer wanted drains."""
    play(
        """
        > 0 found echo:a/1#x echo:b/1#y
        start echo-1: a/1#x b/1#y
        > 1 ready echo-1 a/1
        > 1 ready echo-1 b/1
        > 2 found echo:a/1#x*3 echo:b/1#y
        start echo-2: a/1#x
        start echo-3: a/1#x
        > 3 ready echo-2 a/1
        > 3 ready echo-3 a/1
        > 4 found echo:a/1#x*3 echo:b/1#y*2
        start echo-4: b/1#y
        > 5 ready echo-4 b/1
        > 6 found echo:a/1#x*2 echo:b/1#y*2
        drain echo-3
        > 7 exited echo-3 0
        > 8 found echo:a/1#x*1 echo:b/1#y*2
        drain echo-2
        > 9 exited echo-2 0
        > 10 found echo:a/1#x*0 echo:b/1#y*2
        unload echo-1 a/1
        > 11 unloaded echo-1 a/1
        > 12 index
        a/1 UNAVAILABLE: replicas is 0
        b/1 READY
        """
    )


def test_a_broken_model_yaml_takes_no_replica_away():
    """How many are wanted is not known then; what serves goes on."""
    play(
        """
        > 0 found echo:a/1#x*2
        start echo-1: a/1#x
        start echo-2: a/1#x
        > 1 ready echo-1 a/1
        > 1 ready echo-2 a/1
        > 2 found echo:a/1#z!nonsense
        > 3 found echo:a/1#x*2
        > 4 index
        a/1 READY
        """
    )


def test_the_workers_that_will_run_are_counted():
    """Threads are shared out by it."""
    supervision = Supervision(Bounds(), lambda framework: {"onnx": 3}.get(framework, 1))
    assert supervision.wanted_workers == 1
    found = [Found(ModelSpec("a", "1"), "onnx", "x"), Found(ModelSpec("b", "1"), "echo", "x", replicas=2)]
    supervision.snapshot(found, 0)
    assert supervision.wanted_workers == 5
