deliver to=seed at=-100d msg=s
deliver to=ann at=0d msg=a1
deliver to=ann at=0d1h msg=a2
fail to=ann at=1d msg=a3 class=recipient.unknown provider=apple
fail to=bob at=1d msg=b1 class=recipient.unknown provider=apple
incident id=i1 rev=1 kind=provider_false_unknown provider=apple class=recipient.unknown from=0d23h until=2d at=1d3h
----
deliver seed: acceptance "unknown"
deliver ann: acceptance "not_accepted"
deliver ann: acceptance "accepted"
  ann *: ok -> pending at 1d, due 2d; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e4]
fail ann: acceptance "accepted"
  bob *: ok -> pending at 1d, due 1d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e5]
fail bob: acceptance "not_accepted"
  ann *: pending -> held at 1d3h, until 2d; recipient.unknown; unknown, held, the provider seems to err; events [e4]; incident i1
  bob *: pending -> held at 1d3h, until 2d; recipient.unknown; unknown, held, the provider seems to err; events [e5]; incident i1

# Without a word from the detector the hold ends in probation for everybody, never in a suppression.
tick at=1d23h
tick at=2d
----
  ann *: held -> probation at 2d; recipient.unknown; unknown, hold ended without a finding; events [e4]; incident i1
  bob *: held -> probation at 2d; recipient.unknown; unknown, hold ended without a finding; events [e5]; incident i1

# Two incidents: the end of one leaves what the other covers held.
fail to=cid at=5d msg=c1 class=recipient.unknown provider=apple
incident id=i2 rev=1 kind=provider_false_unknown provider=apple class=recipient.unknown from=4d23h until=6d at=5d1h
incident id=i3 rev=1 kind=provider_false_unknown provider=apple from=4d until=6d at=5d1h
incident id=i2 rev=2 kind=provider_false_unknown provider=apple class=recipient.unknown from=4d23h until=6d at=5d2h resolved
incident id=i3 rev=2 kind=provider_purge provider=apple from=4d until=6d at=5d3h resolved
----
  cid *: ok -> pending at 5d, due 5d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e6]
fail cid: acceptance "not_accepted"
  cid *: pending -> held at 5d1h, until 6d; recipient.unknown; unknown, held, the provider seems to err; events [e6]; incident i2
  cid *: held -> held at 5d2h, until 6d; recipient.unknown; unknown, still held by another incident; events [e6]; incident i3
  cid *: held -> suppressed at 5d3h; recipient.unknown; unknown, the provider closed these accounts; events [e6]; incident i3

# An incident that holds nothing, one without a provider, and a hold withdrawn by an update.
incident id=i4 rev=1 kind=ip_timeout provider=apple from=7d until=8d at=7d hold=no
incident id=i5 rev=1 kind=odd class=recipient.unknown from=7d until=8d at=7d
fail to=dan at=7d1h msg=d1 class=recipient.unknown provider=gmail
incident id=i6 rev=1 kind=provider_false_unknown provider=gmail class=recipient.unknown from=7d until=8d at=7d2h
incident id=i6 rev=2 kind=provider_false_unknown provider=gmail class=recipient.unknown at=7d3h hold=no
----
error: hold of incident i5: no provider named
  dan *: ok -> pending at 7d1h, due 7d2h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e7]
fail dan: acceptance "not_accepted"
  dan *: pending -> held at 7d2h, until 8d; recipient.unknown; unknown, held, the provider seems to err; events [e7]; incident i6
  dan *: held -> probation at 7d3h; recipient.unknown; unknown, amnesty, never accepted; events [e7]; incident i6

# Counted failures under a hold do not count: after the hold opens, eva starts again.
fail to=eva at=10d msg=e1 class=mailbox.full provider=yahoo
fail to=eva at=14d msg=e2 class=mailbox.full provider=yahoo
fail to=eva at=18d msg=e3 class=mailbox.full provider=yahoo
fail to=eva at=22d msg=e4 class=mailbox.full provider=yahoo
incident id=i7 rev=1 kind=provider_false_full provider=yahoo class=mailbox.full from=21d until=23d at=22d1h
fail to=eva at=22d12h msg=e5 class=mailbox.full provider=yahoo
fail to=eva at=26d msg=e6 class=mailbox.full provider=yahoo
fail to=eva at=27d msg=e7 class=mailbox.full provider=yahoo
----
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
  eva bulk: ok -> suppressed at 27d, until 57d; mailbox.full; full, 5 failures over 17 d; events [e9 e10 e13 e14]
fail eva: acceptance "not_accepted"
