deliver to=seed at=-100d msg=s
----
deliver seed: acceptance "unknown"

# A complaint suppresses for its tenant at once; neither time nor success nor another complaint changes it.
complain to=ann at=0d tenant=t1
complain to=ann at=1d tenant=t1
complain to=ann at=1d tenant=t2
fail to=ann at=1d class=notice.unsubscribe
deliver to=ann at=2d msg=m1 tenant=t1
tick at=1000d
----
  ann tenant:t1: ok -> suppressed at 0d; notice.complaint; complaint, refused by the recipient; events [e2]
complain ann: acceptance "not_accepted"
complain ann: acceptance "not_accepted"
  ann tenant:t2: ok -> suppressed at 1d; notice.complaint; complaint, refused by the recipient; events [e4]
complain ann: acceptance "not_accepted"
  ann *: ok -> suppressed at 1d; notice.unsubscribe; unsubscribe, refused by the recipient; events [e5]
fail ann: acceptance "not_accepted"
deliver ann: acceptance "not_accepted"

# A person lifts one scope, or all.
manual to=ann release at=1000d scope=tenant:t1
manual to=ann release at=1000d
----
  ann tenant:t1: suppressed -> ok at 1000d; manual; by eve: asked; events [e2]
  ann *: suppressed -> ok at 1000d; manual; by eve: asked; events [e5]
  ann tenant:t2: suppressed -> ok at 1000d; manual; by eve: asked; events [e4]

# What failed before the release does not count, what fails after it does.
fail to=bob at=1000d1h msg=b1 class=recipient.unknown provider=apple
manual to=bob release at=1000d12h
fail to=bob at=1000d11h msg=b2 class=recipient.unknown provider=apple
fail to=bob at=1001d msg=b3 class=recipient.unknown provider=apple
----
  bob *: ok -> pending at 1000d1h, due 1000d2h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e7]
fail bob: acceptance "not_accepted"
  bob *: pending -> ok at 1000d12h; manual; by eve: asked; events [e7]
fail bob: acceptance "not_accepted"
  bob *: ok -> pending at 1001d, due 1001d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e9]
fail bob: acceptance "not_accepted"

# A manual suppression outranks success, failure, incidents and time.
manual to=cid suppress at=1001d
deliver to=cid at=1002d msg=c1
fail to=cid at=1002d msg=c2 class=recipient.unknown provider=apple
incident id=i1 rev=1 kind=x provider=apple from=1000d until=1003d at=1002d
tick at=2000d
manual to=cid release at=2000d
----
  cid *: ok -> suppressed at 1001d; manual; by eve: asked; events []
deliver cid: acceptance "not_accepted"
fail cid: acceptance "accepted"
  bob *: pending -> held at 1002d, until 1003d; recipient.unknown; unknown, held, the provider seems to err; events [e9]; incident i1
  bob *: held -> probation at 1003d; recipient.unknown; unknown, hold ended without a finding; events [e9]; incident i1
  cid *: suppressed -> ok at 2000d; manual; by eve: asked; events []

# A manual suppression of something suppressed already, and of one scope.
fail to=dan at=2000d msg=d1 class=recipient.unknown provider=apple
manual to=dan suppress at=2000d1h
deliver to=dan at=2000d2h msg=d2
manual to=eva suppress at=2000d1h scope=bulk
----
  dan *: ok -> pending at 2000d, due 2000d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e12]
fail dan: acceptance "not_accepted"
  dan *: pending -> suppressed at 2000d1h; manual; by eve: asked; events [e12]
deliver dan: acceptance "not_accepted"
  eva bulk: ok -> suppressed at 2000d1h; manual; by eve: asked; events []

# Releasing what nobody suppressed says nothing.
manual to=fay release at=2000d
----

# A wish to be left out is as good as a complaint: its tenant, at once, until a person lifts it.
unsubscribe to=gil at=2000d tenant=t1
unsubscribe to=gil at=2001d tenant=t1
deliver to=gil at=2002d msg=g1 tenant=t1
click to=gil at=2002d1h msg=g1 tenant=t1
tick at=3000d
manual to=gil release at=3000d
unsubscribe to=gil at=3001d tenant=t1
----
  gil tenant:t1: ok -> suppressed at 2000d; notice.unsubscribe; unsubscribe, refused by the recipient; events [e14]
unsubscribe gil: acceptance "not_accepted"
unsubscribe gil: acceptance "not_accepted"
deliver gil: acceptance "not_accepted"
click gil: acceptance "accepted"
  gil tenant:t1: suppressed -> ok at 3000d; manual; by eve: asked; events [e14]
  gil tenant:t1: ok -> suppressed at 3001d; notice.unsubscribe; unsubscribe, refused by the recipient; events [e18]
unsubscribe gil: acceptance "not_accepted"

# What a person says ends a probation as a suppression of its own kind.
fail to=hue at=3001d msg=h1 class=recipient.restricted tenant=t1
fail to=hue at=3005d msg=h2 class=recipient.restricted tenant=t1
fail to=hue at=3009d msg=h3 class=recipient.restricted tenant=t1
fail to=hue at=3013d msg=h4 class=recipient.restricted tenant=t1
fail to=hue at=3017d msg=h5 class=recipient.restricted tenant=t1
fail to=hue at=3021d msg=h6 class=recipient.restricted tenant=t1
fail to=hue at=3025d msg=h7 class=recipient.restricted tenant=t1
tick at=3056d
complain to=hue at=3057d tenant=t1
tick at=4000d
----
fail hue: acceptance "not_accepted"
fail hue: acceptance "not_accepted"
fail hue: acceptance "not_accepted"
fail hue: acceptance "not_accepted"
fail hue: acceptance "not_accepted"
fail hue: acceptance "not_accepted"
  hue tenant:t1: ok -> suppressed at 3025d, until 3055d; recipient.restricted; restricted, 7 failures over 24 d; events [e22 e23 e24 e25]
fail hue: acceptance "not_accepted"
  hue tenant:t1: suppressed -> probation at 3055d; recipient.restricted; restricted, suppression ended; events [e22 e23 e24 e25]
  hue tenant:t1: probation -> suppressed at 3057d; notice.complaint; complaint, refused by the recipient; events [e23 e24 e25 e26]
complain hue: acceptance "not_accepted"
