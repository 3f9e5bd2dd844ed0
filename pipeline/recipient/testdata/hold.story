deliver to=seed at=-100d msg=s
deliver to=ann at=0d msg=a1
deliver to=ann at=0d1h msg=a2
----
deliver seed: acceptance "unknown"
deliver ann: acceptance "not_accepted"
deliver ann: acceptance "accepted"

# Before the incident opens: ann waits, bob was suppressed by two messages, cid is suspected at another provider,
# dan failed before the hold, eva by another class group.
fail to=ann at=1d msg=a3 class=recipient.unknown provider=apple
fail to=bob at=1d msg=b1 class=recipient.unknown provider=apple
fail to=bob at=1d2h msg=b2 class=recipient.unknown provider=apple
fail to=cid at=1d msg=c1 class=recipient.unknown provider=gmail
fail to=dan at=0d20h msg=d1 class=recipient.unknown provider=apple
fail to=eva at=1d msg=e1 class=mailbox.full provider=apple
complain to=fay at=1d tenant=t1
----
  ann *: ok -> pending at 1d, due 2d; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e4]
fail ann: acceptance "accepted"
  bob *: ok -> pending at 1d, due 1d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e5]
fail bob: acceptance "not_accepted"
  bob *: pending -> suppressed at 1d2h; recipient.unknown; unknown, second message after 2 h; events [e5 e6]
fail bob: acceptance "not_accepted"
  cid *: ok -> pending at 1d, due 1d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e7]
fail cid: acceptance "not_accepted"
  dan *: ok -> pending at 0d20h, due 0d21h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e8]
fail dan: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
  fay tenant:t1: ok -> suppressed at 1d; notice.complaint; complaint, refused by the recipient; events [e10]
complain fay: acceptance "not_accepted"

# The hold takes what it covers, the suppression made already included.
incident id=i1 rev=1 kind=provider_false_unknown provider=apple class=recipient.unknown from=0d23h until=2d at=1d3h
----
  ann *: pending -> held at 1d3h, until 2d; recipient.unknown; unknown, held, the provider seems to err; events [e4]; incident i1
  bob *: suppressed -> held at 1d3h, until 2d; recipient.unknown; unknown, held, the provider seems to err; events [e5 e6]; incident i1

# The same revision again does nothing; a failure under the hold is held, also of the same class group.
incident id=i1 rev=1 kind=provider_false_unknown provider=apple class=recipient.unknown from=0d23h until=2d at=1d3h
fail to=gus at=1d4h msg=g1 class=recipient.disabled provider=apple
fail to=gus at=1d8h msg=g2 class=recipient.unknown provider=apple
deliver to=bob at=1d5h msg=b3
----
  gus *: ok -> held at 1d4h, until 2d; recipient.disabled; disabled, held, the provider seems to err; events [e11]; incident i1
fail gus: acceptance "not_accepted"
fail gus: acceptance "not_accepted"
deliver bob: acceptance "not_accepted"

# Renewal reaches further; a failure before the renewal, after the first end, is taken too.
tick at=1d23h
fail to=hal at=2d1h msg=h1 class=recipient.unknown provider=apple
incident id=i1 rev=2 kind=provider_false_unknown provider=apple class=recipient.unknown from=0d23h until=3d at=1d23h
tick at=2d12h
----
  hal *: ok -> pending at 2d1h, due 2d2h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e14]
fail hal: acceptance "not_accepted"
  hal *: pending -> held at 1d23h, until 3d; recipient.unknown; unknown, held, the provider seems to err; events [e14]; incident i1

# Amnesty: accepted recipients are ok, bob too since a delivery came meanwhile; others are on probation.
incident id=i1 rev=3 kind=provider_false_unknown provider=apple class=recipient.unknown from=0d23h until=3d at=2d13h resolved
----
  ann *: held -> ok at 2d13h; recipient.unknown; amnesty, accepted before or unknown; events [e4]; incident i1
  bob *: held -> ok at 2d13h; recipient.unknown; amnesty, accepted before or unknown; events [e5 e6]; incident i1
  gus *: held -> probation at 2d13h; recipient.disabled; disabled, amnesty, never accepted; events [e11]; incident i1
  hal *: held -> probation at 2d13h; recipient.unknown; unknown, amnesty, never accepted; events [e14]; incident i1

# A late failure under the ended hold: nothing for the accepted, probation for others. A bounce by mail has a grace.
fail to=ann at=2d msg=a9 class=recipient.unknown provider=apple
fail to=ida at=2d msg=i1 class=recipient.unknown provider=apple
fail to=joe at=2d14h msg=j1 class=recipient.unknown provider=apple outcome=async_bounce
fail to=kim at=2d14h msg=k1 class=recipient.unknown provider=apple
----
fail ann: acceptance "accepted"
  ida *: ok -> probation at 2d; recipient.unknown; unknown, late failure under an ended hold; events [e16]; incident i1
fail ida: acceptance "not_accepted"
  joe *: ok -> probation at 2d14h; recipient.unknown; unknown, late failure under an ended hold; events [e17]; incident i1
fail joe: acceptance "not_accepted"
  kim *: ok -> pending at 2d14h, due 2d15h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e18]
fail kim: acceptance "not_accepted"

# Probation: success lifts, a failure suppresses.
deliver to=gus at=3d msg=g9
fail to=hal at=3d msg=h1 class=recipient.unknown provider=apple
fail to=hal at=3d msg=h2 class=mailbox.full provider=apple
fail to=hal at=3d1h msg=h3 class=recipient.unknown provider=apple
----
  gus *: probation -> ok at 3d; recipient.disabled; delivered; events [e11]
deliver gus: acceptance "not_accepted"
fail hal: acceptance "not_accepted"
fail hal: acceptance "not_accepted"
  hal *: probation -> suppressed at 3d1h; recipient.unknown; unknown, failed again in probation; events [e14 e22]
fail hal: acceptance "not_accepted"
