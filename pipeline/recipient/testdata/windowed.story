deliver to=seed at=-100d msg=s
----
deliver seed: acceptance "unknown"

# Five over fourteen days: retries, a second one within a day and a late one do not count.
fail to=ann at=0d msg=m1 class=mailbox.full provider=yahoo
fail to=ann at=1d1h msg=m1 class=mailbox.full provider=yahoo outcome=deferred
fail to=ann at=2d msg=m2 class=mailbox.full provider=yahoo
fail to=ann at=2d23h msg=m3 class=mailbox.full provider=yahoo
fail to=ann at=1d msg=m0 class=mailbox.full provider=yahoo
fail to=ann at=4d msg=m4 class=mailbox.full provider=yahoo
fail to=ann at=6d msg=m5 class=mailbox.full provider=yahoo
fail to=ann at=13d msg=m6 class=mailbox.full provider=yahoo
fail to=ann at=14d msg=m7 class=mailbox.full code=452 enh=4.2.2 provider=yahoo
----
fail ann: acceptance "not_accepted"
fail ann: acceptance "not_accepted"
fail ann: acceptance "not_accepted"
fail ann: acceptance "not_accepted"
fail ann: acceptance "not_accepted"
fail ann: acceptance "not_accepted"
fail ann: acceptance "not_accepted"
fail ann: acceptance "not_accepted"
  ann bulk: ok -> suppressed at 14d, until 44d; mailbox.full; 452 4.2.2 full, 6 failures over 14 d; events [e7 e8 e9 e10]
fail ann: acceptance "not_accepted"

# The end is probation; each failure there doubles, up to the maximum; a delivery clears.
tick at=43d
tick at=44d
fail to=ann at=45d msg=m8 class=mailbox.full provider=yahoo
tick at=105d
fail to=ann at=106d msg=m9 class=mailbox.full provider=yahoo
tick at=196d
fail to=ann at=197d msg=m10 class=mailbox.full provider=yahoo
tick at=287d
deliver to=ann at=288d msg=m11
----
  ann bulk: suppressed -> probation at 44d; mailbox.full; full, suppression ended; events [e7 e8 e9 e10]
  ann bulk: probation -> suppressed at 45d, until 105d; mailbox.full; full, failed again in probation; events [e8 e9 e10 e11]
fail ann: acceptance "not_accepted"
  ann bulk: suppressed -> probation at 105d; mailbox.full; full, suppression ended; events [e8 e9 e10 e11]
  ann bulk: probation -> suppressed at 106d, until 196d; mailbox.full; full, failed again in probation; events [e9 e10 e11 e12]
fail ann: acceptance "not_accepted"
  ann bulk: suppressed -> probation at 196d; mailbox.full; full, suppression ended; events [e9 e10 e11 e12]
  ann bulk: probation -> suppressed at 197d, until 287d; mailbox.full; full, failed again in probation; events [e10 e11 e12 e13]
fail ann: acceptance "not_accepted"
  ann bulk: suppressed -> probation at 287d; mailbox.full; full, suppression ended; events [e10 e11 e12 e13]
  ann bulk: probation -> ok at 288d; mailbox.full; delivered; events [e10 e11 e12 e13]
deliver ann: acceptance "not_accepted"

# A delivery resets the counters.
fail to=bob at=288d msg=b1 class=recipient.inactive provider=yahoo
fail to=bob at=293d msg=b2 class=recipient.inactive provider=yahoo
fail to=bob at=298d msg=b3 class=recipient.inactive provider=yahoo
deliver to=bob at=299d msg=b4
fail to=bob at=303d msg=b5 class=recipient.inactive provider=yahoo
----
fail bob: acceptance "not_accepted"
fail bob: acceptance "not_accepted"
fail bob: acceptance "not_accepted"
deliver bob: acceptance "not_accepted"
fail bob: acceptance "accepted"

# Without it the fourth over fourteen days suppresses for 90 days, and a delivery ends that.
fail to=cid at=288d msg=c1 class=recipient.inactive provider=yahoo
fail to=cid at=293d msg=c2 class=recipient.inactive provider=yahoo
fail to=cid at=298d msg=c3 class=recipient.inactive provider=yahoo
fail to=cid at=303d msg=c4 class=recipient.inactive provider=yahoo
deliver to=cid at=304d msg=c5
----
fail cid: acceptance "not_accepted"
fail cid: acceptance "not_accepted"
fail cid: acceptance "not_accepted"
  cid bulk: ok -> suppressed at 303d, until 393d; recipient.inactive; inactive, 4 failures over 15 d; events [e20 e21 e22 e23]
fail cid: acceptance "not_accepted"
  cid bulk: suppressed -> ok at 304d; recipient.inactive; delivered, counters reset; events [e20 e21 e22 e23]
deliver cid: acceptance "not_accepted"

# Expiries count as their cause; other scopes never count; class groups are counted apart.
fail to=dan at=310d msg=d1 cause=recipient.inactive outcome=expired provider=yahoo
fail to=dan at=315d msg=d2 class=recipient.inactive scope=remote provider=yahoo
fail to=dan at=316d msg=d3 class=mailbox.full provider=yahoo
fail to=dan at=317d msg=d4 class=recipient.inactive provider=yahoo
fail to=dan at=320d msg=d5 class=recipient.inactive provider=yahoo
fail to=dan at=324d msg=d6 class=recipient.inactive provider=yahoo
----
fail dan: acceptance "not_accepted"
fail dan: acceptance "not_accepted"
fail dan: acceptance "not_accepted"
fail dan: acceptance "not_accepted"
fail dan: acceptance "not_accepted"
  dan bulk: ok -> suppressed at 324d, until 414d; recipient.inactive; inactive, 4 failures over 14 d; events [e27 e28 e29 e30]
fail dan: acceptance "not_accepted"

# Decay: 45 days for a daily sender ...
fail to=eva at=330d msg=e1 class=recipient.inactive provider=yahoo
fail to=eva at=335d msg=e2 class=recipient.inactive provider=yahoo
fail to=eva at=336d1h msg=e3 class=remote.temp_error suppress=never provider=yahoo
fail to=eva at=337d2h msg=e3 class=remote.temp_error suppress=never provider=yahoo
fail to=eva at=340d msg=e4 class=recipient.inactive provider=yahoo
fail to=eva at=383d msg=e5 class=remote.temp_error suppress=never provider=yahoo
fail to=eva at=384d msg=e6 class=remote.temp_error suppress=never provider=yahoo
fail to=eva at=386d msg=e7 class=recipient.inactive provider=yahoo
----
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"

# ... but three times the recipient's own interval when that is longer.
fail to=fay at=400d msg=f1 class=recipient.inactive provider=yahoo
fail to=fay at=460d msg=f2 class=recipient.inactive provider=yahoo
fail to=fay at=520d msg=f3 class=recipient.inactive provider=yahoo
fail to=fay at=580d msg=f4 class=recipient.inactive provider=yahoo
----
fail fay: acceptance "not_accepted"
fail fay: acceptance "not_accepted"
fail fay: acceptance "not_accepted"
  fay bulk: ok -> suppressed at 580d, until 670d; recipient.inactive; inactive, 4 failures over 180 d; events [e39 e40 e41 e42]
fail fay: acceptance "not_accepted"

# Restricted counts for the tenant only; without a tenant for everybody.
fail to=gus at=600d msg=g1 class=recipient.restricted tenant=t1
fail to=gus at=604d msg=g2 class=recipient.restricted tenant=t1
fail to=gus at=608d msg=g3 class=recipient.restricted tenant=t1
fail to=gus at=612d msg=g4 class=recipient.restricted tenant=t1
fail to=gus at=616d msg=g5 class=recipient.restricted tenant=t1
fail to=gus at=617d msg=g6 class=recipient.restricted tenant=t2
fail to=gus at=620d msg=g7 class=recipient.restricted tenant=t1
deliver to=gus at=620d1h msg=g8 tenant=t2
fail to=gus at=624d msg=g9 class=recipient.restricted tenant=t1
----
fail gus: acceptance "not_accepted"
fail gus: acceptance "not_accepted"
fail gus: acceptance "not_accepted"
fail gus: acceptance "not_accepted"
fail gus: acceptance "not_accepted"
fail gus: acceptance "not_accepted"
fail gus: acceptance "not_accepted"
deliver gus: acceptance "not_accepted"
  gus tenant:t1: ok -> suppressed at 624d, until 654d; recipient.restricted; restricted, 7 failures over 24 d; events [e46 e47 e49 e51]
fail gus: acceptance "accepted"

# A hard class with a windowed verdict counts as doubtful, never as hard.
fail to=hal at=700d msg=h1 class=recipient.unknown suppress=windowed
fail to=hal at=704d msg=h2 class=recipient.unknown suppress=windowed
fail to=hal at=708d msg=h3 class=recipient.unknown suppress=windowed
fail to=hal at=712d msg=h4 class=recipient.unknown suppress=windowed
fail to=hal at=716d msg=h5 class=recipient.unknown suppress=windowed
----
fail hal: acceptance "not_accepted"
fail hal: acceptance "not_accepted"
fail hal: acceptance "not_accepted"
fail hal: acceptance "not_accepted"
  hal bulk: ok -> suppressed at 716d, until 746d; recipient.unknown; unknown, 5 failures over 16 d; events [e53 e54 e55 e56]
fail hal: acceptance "not_accepted"
