deliver to=seed at=-100d msg=s
----
deliver seed: acceptance "unknown"

# A mail that nothing shows to be about ours: a hard class counts within the window of [doubtful], for bulk mail.
fail to=ann at=0d msg=a1 class=recipient.unknown provider=apple outcome=async_bounce trust=none
fail to=ann at=3d msg=a2 class=recipient.unknown provider=apple outcome=async_bounce trust=none
fail to=ann at=6d msg=a3 class=recipient.disabled provider=apple outcome=async_bounce trust=none
fail to=ann at=9d msg=a4 class=recipient.unknown provider=apple outcome=async_bounce trust=none
allclear through=10d
fail to=ann at=14d msg=a5 class=recipient.unknown provider=apple outcome=async_bounce trust=none
----
fail ann: acceptance "not_accepted"
fail ann: acceptance "not_accepted"
fail ann: acceptance "not_accepted"
fail ann: acceptance "not_accepted"
  ann bulk: ok -> suppressed at 14d, until 44d; recipient.unknown; unknown, 5 failures over 14 d; events [e3 e4 e5 e6]
fail ann: acceptance "not_accepted"

# It confirms nothing, neither a wait ...
fail to=bob at=20d msg=b1 class=recipient.unknown provider=apple
fail to=bob at=20d3h msg=b2 class=recipient.unknown provider=apple outcome=async_bounce trust=none
fail to=bob at=20d4h msg=b3 class=recipient.unknown provider=apple outcome=async_bounce trust=known
----
  bob *: ok -> pending at 20d, due 20d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e7]
fail bob: acceptance "not_accepted"
fail bob: acceptance "not_accepted"
  bob *: pending -> suppressed at 20d4h; recipient.unknown; unknown, second message after 4 h; events [e7 e9]
fail bob: acceptance "not_accepted"

# ... nor a watch, and it decides no probation.
deliver to=cid at=19d msg=c0
deliver to=cid at=19d1h msg=c1
fail to=cid at=20d msg=c2 class=recipient.unknown provider=gmail
allclear through=22d
fail to=cid at=23d msg=c3 class=recipient.unknown provider=gmail outcome=async_bounce trust=none
fail to=cid at=24d msg=c4 class=recipient.unknown provider=gmail outcome=async_bounce trust=signed
tick at=44d
fail to=ann at=45d msg=a6 class=recipient.unknown provider=apple outcome=async_bounce trust=none
fail to=ann at=45d1h msg=a7 class=mailbox.full provider=apple outcome=async_bounce trust=none
fail to=ann at=45d2h msg=a8 class=mailbox.full provider=apple outcome=async_bounce trust=known
----
deliver cid: acceptance "not_accepted"
deliver cid: acceptance "accepted"
  cid *: ok -> pending at 20d, due 21d; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e12]
fail cid: acceptance "accepted"
  cid *: pending -> watch at 21d, until 200d; recipient.unknown; unknown, accepted before or unknown, the next failure counts; events [e12]
fail cid: acceptance "accepted"
  cid *: watch -> suppressed at 24d; recipient.unknown; unknown, again after 4 d; events [e12 e14]
fail cid: acceptance "accepted"
  ann bulk: suppressed -> probation at 44d; recipient.unknown; unknown, suppression ended; events [e3 e4 e5 e6]
fail ann: acceptance "not_accepted"
fail ann: acceptance "not_accepted"
  ann bulk: probation -> suppressed at 45d2h, until 105d2h; recipient.unknown; full, failed again in probation; events [e4 e5 e6 e17]
fail ann: acceptance "not_accepted"

# A delivery on trial is not taken back by it.
deliver to=dan at=46d msg=d1
fail to=dan at=46d1h msg=d1 class=recipient.unknown provider=apple outcome=async_bounce trust=none
fail to=dan at=46d2h msg=d1 class=recipient.unknown provider=apple outcome=async_bounce trust=known
----
deliver dan: acceptance "not_accepted"
fail dan: acceptance "accepted"
  dan *: ok -> pending at 46d2h, due 46d3h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e20]
fail dan: acceptance "not_accepted"

# Known and signed count as the policy says, and so does what came by no mail.
fail to=eva at=50d msg=e1 class=recipient.unknown provider=apple outcome=async_bounce trust=known
fail to=fay at=50d msg=f1 class=recipient.unknown provider=apple outcome=async_bounce trust=signed
fail to=gus at=50d msg=g1 class=recipient.unknown provider=apple outcome=async_bounce
----
  eva *: ok -> pending at 50d, due 50d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e21]
fail eva: acceptance "not_accepted"
  fay *: ok -> pending at 50d, due 50d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e22]
fail fay: acceptance "not_accepted"
  gus *: ok -> pending at 50d, due 50d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e23]
fail gus: acceptance "not_accepted"

# A complaint and a wish to be left out by such a mail suppress nobody alone. Five in two weeks count for their tenant.
complain to=hal at=60d id=h1 tenant=t1 trust=none
unsubscribe to=hal at=64d id=h2 tenant=t1 trust=none
complain to=hal at=68d id=h3 tenant=t1 trust=none
complain to=hal at=72d id=h4 tenant=t1 trust=none
complain to=hal at=74d id=h5 tenant=t1 trust=none
complain to=ida at=60d id=i1 trust=none
complain to=ida at=60d id=i1 trust=known
unsubscribe to=jan at=60d id=j1 tenant=t1 trust=signed
----
complain hal: acceptance "not_accepted"
unsubscribe hal: acceptance "not_accepted"
complain hal: acceptance "not_accepted"
complain hal: acceptance "not_accepted"
  hal tenant:t1: ok -> suppressed at 74d, until 104d; notice.complaint; complaint, 5 failures over 14 d; events [e25 e26 e27 e28]
complain hal: acceptance "not_accepted"
complain ida: acceptance "not_accepted"
  ida *: ok -> suppressed at 60d; notice.complaint; complaint, refused by the recipient; events [e30]
complain ida: acceptance "not_accepted"
  jan tenant:t1: ok -> suppressed at 60d; notice.unsubscribe; unsubscribe, refused by the recipient; events [e31]
unsubscribe jan: acceptance "not_accepted"

# Under a hold it counts no more than anything else.
incident id=i1 rev=1 kind=x provider=apple class=recipient.unknown from=80d until=90d at=80d1h
fail to=kim at=81d msg=k1 class=recipient.unknown provider=apple outcome=async_bounce trust=none
records
----
fail kim: acceptance "not_accepted"
14 records
