deliver to=seed at=-100d msg=s
deliver to=ann at=0d msg=m1
deliver to=ann at=2d msg=m2
tick at=3d
----
deliver seed: acceptance "unknown"
deliver ann: acceptance "not_accepted"
deliver ann: acceptance "accepted"

# An accepted recipient waits a day and is then watched.
fail to=ann at=10d msg=m3 class=recipient.unknown provider=gmail
allclear through=11d
allclear through=11d1m
----
  ann *: ok -> pending at 10d, due 11d; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e4]
fail ann: acceptance "accepted"
  ann *: pending -> watch at 11d, until 190d; recipient.unknown; unknown, accepted before or unknown, the next failure counts; events [e4]

# The same message counts once; the next one suppresses.
fail to=ann at=12d msg=m3 class=recipient.unknown provider=gmail outcome=async_bounce
fail to=ann at=40d msg=m4 class=recipient.unknown provider=gmail
----
fail ann: acceptance "accepted"
  ann *: watch -> suppressed at 40d; recipient.unknown; unknown, again after 30 d; events [e4 e6]
fail ann: acceptance "accepted"

# A delivery ends the watch.
deliver to=bob at=40d msg=b0
deliver to=bob at=40d1h msg=b1
fail to=bob at=41d msg=b2 class=recipient.unknown provider=gmail
allclear through=43d
deliver to=bob at=44d msg=b3
----
deliver bob: acceptance "not_accepted"
deliver bob: acceptance "accepted"
  bob *: ok -> pending at 41d, due 42d; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e9]
fail bob: acceptance "accepted"
  bob *: pending -> watch at 42d, until 221d; recipient.unknown; unknown, accepted before or unknown, the next failure counts; events [e9]
  bob *: watch -> ok at 44d; recipient.unknown; delivered; events [e9]
deliver bob: acceptance "accepted"

# After 180 days the watch is over, whether a clock has said so ...
deliver to=cid at=44d msg=c0
deliver to=cid at=44d1h msg=c1
fail to=cid at=45d msg=c2 class=recipient.unknown provider=gmail
allclear through=47d
tick at=225d
fail to=cid at=226d msg=c3 class=recipient.unknown provider=gmail
----
deliver cid: acceptance "not_accepted"
deliver cid: acceptance "accepted"
  cid *: ok -> pending at 45d, due 46d; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e13]
fail cid: acceptance "accepted"
  cid *: pending -> watch at 46d, until 225d; recipient.unknown; unknown, accepted before or unknown, the next failure counts; events [e13]
  cid *: watch -> ok at 225d; recipient.unknown; no further failure; events [e13]
  cid *: ok -> pending at 226d, due 226d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e14]
fail cid: acceptance "not_accepted"

# ... or not.
deliver to=dan at=226d msg=d0
deliver to=dan at=226d1h msg=d1
fail to=dan at=227d msg=d2 class=recipient.unknown provider=gmail
allclear through=229d
fail to=dan at=407d1h msg=d3 class=recipient.unknown provider=gmail
----
deliver dan: acceptance "not_accepted"
deliver dan: acceptance "accepted"
  dan *: ok -> pending at 227d, due 228d; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e17]
fail dan: acceptance "accepted"
  cid *: pending -> suppressed at 226d1h; recipient.unknown; unknown, never accepted, no incident in the wait; events [e14]
  dan *: pending -> watch at 228d, until 407d; recipient.unknown; unknown, accepted before or unknown, the next failure counts; events [e17]
  dan *: watch -> pending at 407d1h, due 408d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e18]
fail dan: acceptance "accepted"
