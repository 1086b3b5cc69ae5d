"""The requests that a wide set of inputs becomes, recorded, and replayed on the code as it is.

`requests.json.xz` has, for each case, what the target made of it: every request to the byte, the rejects,
the counts. `test_recorded_requests.py` plays all cases again and compares. Cases use the target as any
program does (`TargetFullstory(config=…).listen(file)`, and HTTP on loopback), nothing inside the package, so
that they survive any change of its insides.

    python -m tests.recorded            what differs now from what was recorded
    python -m tests.recorded messages   record the wording of errors and rejects anew, nothing else
    python -m tests.recorded everything record all of it anew

Record anew only what was meant to change, in the commit that changes it, and say in its message which
requests changed and why:

- `messages` where errors or rejects were reworded. It refuses where anything else differs.
- `everything` where Fullstory is to be sent something else from now on, or where cases were added. A change
  of the code's structure is never a reason: the Idempotency-Keys of events are made of these bytes, so that a
  change of them sends events twice that a crash interrupted.
"""
