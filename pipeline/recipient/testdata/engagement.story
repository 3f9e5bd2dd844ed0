# Engagement makes no history: who only opened mail says nothing about those who got some.
open to=ann at=-200d msg=m0
fail to=bob at=0d msg=b1 class=mailbox.full
deliver to=seed at=-100d msg=s
fail to=bob at=2d msg=b2 class=mailbox.full
----
open ann: acceptance "unknown"
fail bob: acceptance "unknown"
deliver seed: acceptance "unknown"
fail bob: acceptance "not_accepted"

# What a person opens says that the mailbox takes mail, as of then; at once and for good.
open to=cid at=1d msg=c0
fail to=cid at=1d1h msg=c0 class=recipient.unknown provider=apple outcome=async_bounce
fail to=dan at=1d msg=d0 class=recipient.unknown provider=apple
click to=dan at=0d23h msg=d1
fail to=eva at=91d msg=e0 class=content.spam
open to=eva at=0d msg=e1
fail to=eva at=90d msg=e0 class=content.spam
fail to=eva at=91d msg=e0 class=content.spam
----
open cid: acceptance "not_accepted"
  cid *: ok -> pending at 1d1h, due 2d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e6]
fail cid: acceptance "accepted"
  dan *: ok -> pending at 1d, due 1d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e7]
fail dan: acceptance "not_accepted"
click dan: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
open eva: acceptance "not_accepted"
fail eva: acceptance "accepted"
fail eva: acceptance "not_accepted"

# A first delivery that was opened is on trial no longer.
deliver to=fay at=1d msg=f0
open to=fay at=1d1h msg=f0
fail to=fay at=1d2h msg=f0 class=recipient.unknown provider=apple outcome=async_bounce
----
deliver fay: acceptance "not_accepted"
open fay: acceptance "accepted"
  fay *: ok -> pending at 1d2h, due 2d2h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e15]
fail fay: acceptance "accepted"

# An open after a 5.1.1 contradicts it: pending, watch and probation end.
fail to=gus at=2d msg=g0 class=recipient.unknown provider=gmail
open to=gus at=2d1h msg=g1
fail to=gus at=1d23h msg=g2 class=recipient.unknown provider=gmail
deliver to=hal at=1d msg=h0
deliver to=hal at=1d1h msg=h1
fail to=hal at=2d msg=h2 class=recipient.unknown provider=gmail
allclear through=4d
click to=hal at=5d msg=h1
fail to=ida at=5d msg=i0 class=recipient.unknown provider=apple
incident id=i1 rev=1 kind=x provider=apple class=recipient.unknown from=4d until=6d at=5d1h
open to=ida at=5d2h msg=i1
incident id=i1 rev=2 kind=x provider=apple class=recipient.unknown from=4d until=6d at=5d3h resolved
fail to=jan at=7d msg=j0 class=recipient.unknown provider=yahoo
incident id=i2 rev=1 kind=x provider=yahoo class=recipient.unknown from=6d until=8d at=7d1h
incident id=i2 rev=2 kind=x provider=yahoo class=recipient.unknown from=6d until=8d at=7d2h resolved
open to=jan at=7d3h msg=j1
----
  gus *: ok -> pending at 2d, due 2d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e16]
fail gus: acceptance "not_accepted"
  gus *: pending -> ok at 2d1h; recipient.unknown; opened; events [e16]
open gus: acceptance "not_accepted"
fail gus: acceptance "accepted"
deliver hal: acceptance "not_accepted"
deliver hal: acceptance "accepted"
  hal *: ok -> pending at 2d, due 3d; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e21]
fail hal: acceptance "accepted"
  dan *: pending -> watch at 1d1h, until 181d; recipient.unknown; unknown, accepted before or unknown, the next failure counts; events [e7]
  cid *: pending -> watch at 2d1h, until 181d1h; recipient.unknown; unknown, accepted before or unknown, the next failure counts; events [e6]
  fay *: pending -> watch at 2d2h, until 181d2h; recipient.unknown; unknown, accepted before or unknown, the next failure counts; events [e15]
  hal *: pending -> watch at 3d, until 182d; recipient.unknown; unknown, accepted before or unknown, the next failure counts; events [e21]
  hal *: watch -> ok at 5d; recipient.unknown; clicked; events [e21]
click hal: acceptance "accepted"
  ida *: ok -> pending at 5d, due 5d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e23]
fail ida: acceptance "not_accepted"
  ida *: pending -> held at 5d1h, until 6d; recipient.unknown; unknown, held, the provider seems to err; events [e23]; incident i1
open ida: acceptance "not_accepted"
  ida *: held -> ok at 5d3h; recipient.unknown; amnesty, accepted before or unknown; events [e23]; incident i1
  jan *: ok -> pending at 7d, due 7d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e25]
fail jan: acceptance "not_accepted"
  jan *: pending -> held at 7d1h, until 8d; recipient.unknown; unknown, held, the provider seems to err; events [e25]; incident i2
  jan *: held -> probation at 7d2h; recipient.unknown; unknown, amnesty, never accepted; events [e25]; incident i2
  jan *: probation -> ok at 7d3h; recipient.unknown; opened; events [e25]
open jan: acceptance "not_accepted"

# One before it does not, nor what a machine opened.
fail to=kim at=10d msg=k0 class=recipient.unknown provider=gmail
open to=kim at=9d msg=k1
open to=kim at=10d1h msg=k1 machine
click to=kim at=10d1h msg=k1 machine
fail to=lea at=10d msg=l1 class=content.spam
open to=lea at=10d msg=l0 machine
fail to=lea at=10d1h msg=l1 class=content.spam
allclear through=11d
----
  kim *: ok -> pending at 10d, due 10d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e27]
fail kim: acceptance "not_accepted"
open kim: acceptance "not_accepted"
open kim: acceptance "accepted"
click kim: acceptance "accepted"
fail lea: acceptance "not_accepted"
open lea: acceptance "not_accepted"
fail lea: acceptance "not_accepted"
  kim *: pending -> watch at 10d1h, until 190d; recipient.unknown; unknown, accepted before or unknown, the next failure counts; events [e27]

# Nobody is released from a suppression by an open, but that it happened is on record, once.
fail to=max at=12d msg=x0 class=recipient.unknown rule=r1 provider=gmail
fail to=max at=12d3h msg=x1 class=recipient.unknown rule=r1 provider=gmail
open to=max at=12d2h msg=x2
open to=max at=15d4h msg=x2
click to=max at=15d5h msg=x2
open to=max at=16d msg=x2 machine
allclear through=20d
manual to=max release at=20d
fail to=max at=21d msg=x3 class=recipient.unknown provider=gmail
fail to=max at=22d msg=x4 class=recipient.unknown provider=gmail
open to=max at=23d msg=x5
----
  max *: ok -> pending at 12d, due 12d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e34]
fail max: acceptance "not_accepted"
  max *: pending -> suppressed at 12d3h; recipient.unknown; unknown, second message after 3 h; events [e34 e35]
fail max: acceptance "not_accepted"
open max: acceptance "not_accepted"
  max *: suppressed -> suppressed at 15d4h; recipient.unknown; unknown, opened 3 d after the failure, kept; events [e34 e35 e37]
open max: acceptance "accepted"
click max: acceptance "accepted"
open max: acceptance "accepted"
  max *: suppressed -> ok at 20d; manual; by eve: asked; events [e34 e35]
  max *: ok -> pending at 21d, due 22d; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e40]
fail max: acceptance "accepted"
  max *: pending -> suppressed at 22d; recipient.unknown; unknown, second message after 24 h; events [e40 e41]
fail max: acceptance "accepted"
  max *: suppressed -> suppressed at 23d; recipient.unknown; unknown, opened 24 h after the failure, kept; events [e40 e41 e42]
open max: acceptance "accepted"

# The counters of a full mailbox begin anew; a suppression for it lasts: reading makes no room.
fail to=ned at=30d msg=n1 class=mailbox.full provider=yahoo
fail to=ned at=34d msg=n2 class=mailbox.full provider=yahoo
fail to=ned at=38d msg=n3 class=mailbox.full provider=yahoo
fail to=ned at=42d msg=n4 class=mailbox.full provider=yahoo
open to=ned at=43d msg=n0
fail to=ned at=46d msg=n5 class=mailbox.full provider=yahoo
fail to=ned at=50d msg=n6 class=mailbox.full provider=yahoo
fail to=ned at=54d msg=n7 class=mailbox.full provider=yahoo
fail to=ned at=58d msg=n8 class=mailbox.full provider=yahoo
fail to=ned at=60d msg=n9 class=mailbox.full provider=yahoo
open to=ned at=61d msg=n0
deliver to=ned at=62d msg=n10
----
fail ned: acceptance "not_accepted"
fail ned: acceptance "not_accepted"
fail ned: acceptance "not_accepted"
fail ned: acceptance "not_accepted"
open ned: acceptance "not_accepted"
fail ned: acceptance "accepted"
fail ned: acceptance "accepted"
fail ned: acceptance "accepted"
fail ned: acceptance "accepted"
  ned bulk: ok -> suppressed at 60d, until 90d; mailbox.full; full, 5 failures over 14 d; events [e49 e50 e51 e52]
fail ned: acceptance "accepted"
open ned: acceptance "accepted"
  ned bulk: suppressed -> ok at 62d; mailbox.full; delivered, counters reset; events [e49 e50 e51 e52]
deliver ned: acceptance "accepted"

# A complaint is a person's matter, whatever is read after it.
complain to=ola at=70d tenant=t1
open to=ola at=71d msg=o1 tenant=t1
----
  ola tenant:t1: ok -> suppressed at 70d; notice.complaint; complaint, refused by the recipient; events [e55]
complain ola: acceptance "not_accepted"
open ola: acceptance "not_accepted"
