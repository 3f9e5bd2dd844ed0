# Without history nobody is called not accepted; unknown waits as long as accepted.
fail to=ann at=0d msg=m1 class=recipient.unknown provider=apple
allclear through=2d
----
  ann *: ok -> pending at 0d, due 1d; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e1]
fail ann: acceptance "unknown"
  ann *: pending -> watch at 1d, until 180d; recipient.unknown; unknown, accepted before or unknown, the next failure counts; events [e1]

# A backfilled event extends the history.
deliver to=seed at=-90d msg=s backfill
fail to=bob at=1d msg=m2 class=recipient.unknown provider=apple
----
deliver seed: acceptance "unknown"
  bob *: ok -> pending at 1d, due 1d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e3]
fail bob: acceptance "not_accepted"

# A first delivery counts at once, and an asynchronous bounce of the same message takes it back.
deliver to=cid at=2d1h msg=m3
fail to=cid at=2d2h msg=m3 class=recipient.unknown provider=apple outcome=async_bounce
----
deliver cid: acceptance "not_accepted"
  cid *: ok -> pending at 2d2h, due 2d3h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e5]
fail cid: acceptance "not_accepted"

# A bounce of another message does not.
deliver to=dan at=2d1h msg=m4
fail to=dan at=2d2h msg=m5 class=recipient.unknown provider=apple outcome=async_bounce
----
deliver dan: acceptance "not_accepted"
  dan *: ok -> pending at 2d2h, due 3d2h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e7]
fail dan: acceptance "accepted"

# Neither does one after a day ...
deliver to=eva at=2d1h msg=m6
fail to=eva at=3d2h msg=m6 class=recipient.unknown provider=apple outcome=async_bounce
----
deliver eva: acceptance "not_accepted"
  eva *: ok -> pending at 3d2h, due 4d2h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e9]
fail eva: acceptance "accepted"

# ... or one after a second message was delivered.
deliver to=fay at=2d1h msg=m7
deliver to=fay at=2d2h msg=m8
fail to=fay at=2d3h msg=m7 class=recipient.unknown provider=apple outcome=async_bounce
----
deliver fay: acceptance "not_accepted"
deliver fay: acceptance "accepted"
  fay *: ok -> pending at 2d3h, due 3d3h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e12]
fail fay: acceptance "accepted"

# After ninety days acceptance is over.
tick at=4d
deliver to=gus at=4d msg=m9
tick at=90d
fail to=gus at=94d msg=m10 class=mailbox.full provider=apple
fail to=gus at=95d msg=m11 class=mailbox.full provider=apple
----
deliver gus: acceptance "not_accepted"
fail gus: acceptance "accepted"
fail gus: acceptance "accepted"
