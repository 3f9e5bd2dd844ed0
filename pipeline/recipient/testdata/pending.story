# History is long enough to call a recipient not accepted.
deliver to=seed at=-100d msg=s
----
deliver seed: acceptance "unknown"

# One hard failure of a recipient never accepted: due after 60 minutes.
fail to=ann at=0d10h msg=m1 class=recipient.unknown code=550 enh=5.1.1 provider=apple
----
  ann *: ok -> pending at 0d10h, due 0d11h; recipient.unknown; 550 5.1.1 unknown, waiting for a second message or the all-clear; events [e2]
fail ann: acceptance "not_accepted"

# The same message again, and another one too soon: nothing.
fail to=ann at=0d13h msg=m1 class=recipient.unknown code=550 provider=apple outcome=async_bounce
fail to=ann at=0d11h msg=m2 class=recipient.unknown code=550 provider=apple
----
fail ann: acceptance "not_accepted"
fail ann: acceptance "not_accepted"

# An all-clear up to the due time is not past it; a tick says nothing about the provider.
allclear through=0d11h
tick at=0d12h
----

# An all-clear that leaves the provider out does not mature it, one past the due time does.
allclear through=0d12h1m except=apple
allclear through=0d12h2m
----
  ann *: pending -> suppressed at 0d11h; recipient.unknown; unknown, never accepted, no incident in the wait; events [e2]

# A second message two hours later confirms, and lasts.
fail to=bob at=0d10h msg=m3 class=recipient.disabled code=550 provider=apple
fail to=bob at=0d12h msg=m4 class=recipient.unknown code=550 enh=5.1.1 provider=apple
tick at=3000d
deliver to=bob at=3001d msg=m5
----
  bob *: ok -> pending at 0d10h, due 0d11h; recipient.disabled; 550 disabled, waiting for a second message or the all-clear; events [e5]
fail bob: acceptance "not_accepted"
  bob *: pending -> suppressed at 0d12h; recipient.unknown; 550 5.1.1 unknown, second message after 2 h; events [e5 e6]
fail bob: acceptance "not_accepted"
deliver bob: acceptance "not_accepted"

# A delivery after the failure lifts it; the failure logged late does not count again.
fail to=cid at=3002d msg=m6 class=recipient.unknown provider=apple
deliver to=cid at=3002d1h msg=m7
fail to=cid at=3002d30m msg=m8 class=recipient.unknown provider=apple
----
  cid *: ok -> pending at 3002d, due 3002d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e8]
fail cid: acceptance "not_accepted"
  cid *: pending -> ok at 3002d1h; recipient.unknown; delivered; events [e8]
deliver cid: acceptance "not_accepted"
fail cid: acceptance "accepted"

# A delivery before the failure, logged late, lifts nothing but proves acceptance when the wait ends.
fail to=dan at=3010d msg=m9 class=recipient.unknown provider=apple
deliver to=dan at=3009d msg=m10
allclear through=3010d2h
----
  dan *: ok -> pending at 3010d, due 3010d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e11]
fail dan: acceptance "not_accepted"
deliver dan: acceptance "not_accepted"
  dan *: pending -> watch at 3010d1h, until 3190d; recipient.unknown; unknown, accepted before or unknown, the next failure counts; events [e11]

# Identities that cannot be compared are one message within the life of a queue.
fail to=eva at=3020d msg=q1 class=recipient.unknown provider=apple
fail to=eva at=3020d6h id=i2 class=recipient.unknown provider=apple
fail to=eva at=3025d1h id=i3 class=recipient.unknown provider=apple
----
  eva *: ok -> pending at 3020d, due 3020d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e13]
fail eva: acceptance "not_accepted"
fail eva: acceptance "not_accepted"
  eva *: pending -> suppressed at 3025d1h; recipient.unknown; unknown, second message after 5 d; events [e13 e15]
fail eva: acceptance "not_accepted"
