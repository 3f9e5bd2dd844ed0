deliver to=seed at=-100d msg=s
----
deliver seed: acceptance "unknown"

# A genesis record that observes marks decisions; a policy with a mode outranks it.
genesis observe
fail to=ann at=0d msg=m1 class=recipient.unknown provider=apple
policy mode=enforce
fail to=bob at=0d msg=m2 class=recipient.unknown provider=apple
----
  ann *: ok -> pending at 0d, due 0d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e2]; dry run
fail ann: acceptance "not_accepted"
  bob *: ok -> pending at 0d, due 0d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e3]
fail bob: acceptance "not_accepted"

# A policy that cannot be read leaves the old one in force.
policy mode=maybe
fail to=cid at=0d msg=m3 class=recipient.unknown provider=apple
----
error: control record 3: policy line 11: mode: "maybe" is neither observe nor enforce
  cid *: ok -> pending at 0d, due 0d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e4]
fail cid: acceptance "not_accepted"

# Waits under way keep their time; a suppression with an end ends in probation and doubles.
policy wait_not_accepted=0s suppress_for=100d suppress_max=150d
fail to=dan at=1d msg=d1 class=recipient.unknown provider=apple
allclear through=1d1m
tick at=101d
fail to=dan at=102d msg=d2 class=recipient.unknown provider=apple
----
  dan *: ok -> pending at 1d, due 1d; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e5]; dry run
fail dan: acceptance "not_accepted"
  ann *: pending -> suppressed at 0d1h, until 100d1h; recipient.unknown; unknown, never accepted, no incident in the wait; events [e2]; dry run
  bob *: pending -> suppressed at 0d1h, until 100d1h; recipient.unknown; unknown, never accepted, no incident in the wait; events [e3]; dry run
  cid *: pending -> suppressed at 0d1h, until 100d1h; recipient.unknown; unknown, never accepted, no incident in the wait; events [e4]; dry run
  dan *: pending -> suppressed at 1d, until 101d; recipient.unknown; unknown, never accepted, no incident in the wait; events [e5]; dry run
  ann *: suppressed -> probation at 100d1h; recipient.unknown; unknown, suppression ended; events [e2]; dry run
  bob *: suppressed -> probation at 100d1h; recipient.unknown; unknown, suppression ended; events [e3]; dry run
  cid *: suppressed -> probation at 100d1h; recipient.unknown; unknown, suppression ended; events [e4]; dry run
  dan *: suppressed -> probation at 101d; recipient.unknown; unknown, suppression ended; events [e5]; dry run
  dan *: probation -> suppressed at 102d, until 252d; recipient.unknown; unknown, failed again in probation; events [e5 e6]; dry run
fail dan: acceptance "not_accepted"

# Full, the store forgets ok records, the one nearest to being forgotten first, and never a suppression.
policy records=6
records
fail to=eva at=110d msg=e1 class=mailbox.full provider=apple
fail to=fay at=111d msg=f1 class=mailbox.full provider=apple
records
fail to=gus at=112d msg=g1 class=recipient.unknown provider=apple
fail to=hal at=112d msg=h1 class=recipient.unknown provider=apple
fail to=ida at=112d msg=i1 class=recipient.unknown provider=apple
manual to=joe suppress at=113d
records
----
4 records
fail eva: acceptance "not_accepted"
fail fay: acceptance "not_accepted"
6 records
  gus *: ok -> pending at 112d, due 112d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e9]; dry run
fail gus: acceptance "not_accepted"
  hal *: ok -> pending at 112d, due 112d1h; recipient.unknown; unknown, waiting for a second message or the all-clear; events [e10]; dry run
fail hal: acceptance "not_accepted"
fail ida: acceptance "not_accepted"
error: control record 8: no room for a manual suppression
6 records

# Time forgets ok records without evidence.
deliver to=gus at=113d msg=g2
records
tick at=121d
records
----
  gus *: pending -> ok at 113d; recipient.unknown; delivered; events [e9]; dry run
deliver gus: acceptance "not_accepted"
6 records
5 records
