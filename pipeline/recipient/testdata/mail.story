deliver to=seed at=-100d msg=s
----
deliver seed: acceptance "unknown"

# What a bounce mail tells a second time (joined) changes nothing: no state, no acceptance, no record.
deliver to=ann at=0d msg=a1
fail to=ann at=0d1h msg=a1 class=recipient.unknown provider=apple outcome=async_bounce joined
fail to=ann at=0d2h msg=a2 class=content.spam
complain to=ann at=0d3h joined
records
----
deliver ann: acceptance "not_accepted"
fail ann: acceptance "accepted"
fail ann: acceptance "accepted"
complain ann: acceptance "accepted"
0 records

# The log's failure and the bounce mail of one message are one failure: by the message id where the mail knows no queue id ...
fail to=bob at=0d msg=b1 id=<1> class=recipient.unknown provider=apple
fail to=bob at=0d3h id=<1> class=recipient.unknown provider=apple outcome=async_bounce trust=known
fail to=bob at=0d4h id=<2> class=recipient.unknown provider=apple outcome=async_bounce trust=known
----
  bob *: ok -> pending at 0d, due 0d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e6]
fail bob: acceptance "not_accepted"
fail bob: acceptance "not_accepted"
  bob *: pending -> suppressed at 0d4h; recipient.unknown; unknown, second message after 4 h; events [e6 e8]
fail bob: acceptance "not_accepted"

# ... also where the mail comes first ...
fail to=cid at=0d id=<1> class=recipient.unknown provider=apple outcome=async_bounce trust=known
fail to=cid at=0d3h msg=c1 id=<1> class=recipient.unknown provider=apple
fail to=cid at=0d4h msg=c2 id=<2> class=recipient.unknown provider=apple
----
  cid *: ok -> pending at 0d, due 0d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e9]
fail cid: acceptance "not_accepted"
fail cid: acceptance "not_accepted"
  cid *: pending -> suppressed at 0d4h; recipient.unknown; unknown, second message after 4 h; events [e9 e11]
fail cid: acceptance "not_accepted"

# ... and by time where it knows neither.
fail to=dan at=0d msg=d1 id=<1> class=recipient.unknown provider=apple
fail to=dan at=4d23h class=recipient.unknown provider=apple outcome=async_bounce trust=known
fail to=dan at=5d1h class=recipient.unknown provider=apple outcome=async_bounce trust=known
----
  dan *: ok -> pending at 0d, due 0d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e12]
fail dan: acceptance "not_accepted"
fail dan: acceptance "not_accepted"
  dan *: pending -> suppressed at 5d1h; recipient.unknown; unknown, second message after 5 d; events [e12 e14]
fail dan: acceptance "not_accepted"

# The counters of a window likewise.
fail to=eva at=0d msg=e1 id=<1> class=mailbox.full provider=apple
fail to=eva at=1d1h id=<1> class=mailbox.full provider=apple outcome=async_bounce trust=known
fail to=eva at=4d msg=e2 id=<2> class=mailbox.full provider=apple
fail to=eva at=8d msg=e3 id=<3> class=mailbox.full provider=apple
fail to=eva at=12d msg=e4 id=<4> class=mailbox.full provider=apple
fail to=eva at=13d1h id=<4> class=mailbox.full provider=apple outcome=async_bounce trust=known
fail to=eva at=15d id=<5> class=mailbox.full provider=apple outcome=async_bounce trust=known
----
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
  eva bulk: ok -> suppressed at 15d, until 45d; mailbox.full; full, 5 failures over 15 d; events [e17 e18 e19 e21]
fail eva: acceptance "not_accepted"

# What a forwarded address says is evidence against the one that was mailed.
fail to=fay at=20d id=<f1> class=recipient.unknown provider=apple outcome=async_bounce trust=known forwarded=gone@y.example
----
  fay *: ok -> pending at 20d, due 20d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e22]
fail fay: acceptance "not_accepted"
