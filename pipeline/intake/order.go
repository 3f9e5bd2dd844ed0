package intake

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// order lets the records of one body stand together in the log. A CSV body that is split has its header in the first record
// only, and a body of other columns between two of its records would lend them its header.
type order struct{ sem *semaphore.Weighted }

const orderWhole = 1 << 20 // more than there are requests

func newOrder() *order { return &order{semaphore.NewWeighted(orderWhole)} }

// enter waits until a body of one record may be written, or one of several alone; then leave has to be called.
func (o *order) enter(ctx context.Context, records int) (leave func(), err error) {
	n := int64(1)
	if records > 1 {
		n = orderWhole
	}
	if err := o.sem.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return func() { o.sem.Release(n) }, nil
}
