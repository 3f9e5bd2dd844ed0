package broker

import (
	"fmt"
	"slices"
	"testing"

	"github.com/segmentio/kafka-go"
)

func ids(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func TestAssignmentIsEvenCompleteAndIndependentOfOrder(t *testing.T) {
	for members := 1; members <= 13; members++ {
		for _, partitions := range []int{0, 1, 4, 12, 96} {
			var names []string
			for i := range members {
				names = append(names, fmt.Sprintf("aggregate-%d", i))
			}
			owned := assign(names, "t", ids(partitions))
			var all []int
			for i, o := range owned {
				if len(o) < partitions/members || len(o) > (partitions+members-1)/members {
					t.Errorf("%d members, %d partitions: %s owns %d", members, partitions, names[i], len(o))
				}
				all = append(all, o...)
			}
			slices.Sort(all)
			if !slices.Equal(all, ids(partitions)) {
				t.Errorf("%d members, %d partitions: assigned %v", members, partitions, all)
			}
			reversed := slices.Clone(names)
			slices.Reverse(reversed)
			again := assign(reversed, "t", ids(partitions))
			for i := range names {
				if !slices.Equal(owned[i], again[members-1-i]) {
					t.Errorf("%d members: the answer depends on the order of members", members)
				}
			}
		}
	}
}

// A member that goes away and comes back gets its own partitions again, and few others move meanwhile.
func TestRollingRestartMovesFewPartitions(t *testing.T) {
	const members, partitions = 12, 96
	var names []string
	for i := range members {
		names = append(names, fmt.Sprintf("aggregate-%d", i))
	}
	owner := func(names []string) map[int]string {
		out := map[int]string{}
		for i, o := range assign(names, "t", ids(partitions)) {
			for _, p := range o {
				out[p] = names[i]
			}
		}
		return out
	}
	full := owner(names)
	moved := 0
	for i := range names {
		rest := slices.Delete(slices.Clone(names), i, i+1)
		without := owner(rest)
		for p := range partitions {
			if full[p] != without[p] {
				moved += 2 // there and back
			}
		}
	}
	// 192 is what a restart of every member needs at least; the client's own balancers need 819 to 2,185.
	if moved > 600 {
		t.Errorf("a rolling restart moves %d partitions", moved)
	}
	t.Logf("a rolling restart of %d members moves %d partitions of %d", members, moved, partitions)
}

func TestBalancerUsesStableNames(t *testing.T) {
	parts := []kafka.Partition{{Topic: "t", ID: 0}, {Topic: "t", ID: 1}, {Topic: "t", ID: 2}}
	a := rendezvous{}.AssignGroups([]kafka.GroupMember{
		{ID: "random-1", Topics: []string{"t"}, UserData: []byte("pod-0")}, {ID: "random-2", Topics: []string{"t"}, UserData: []byte("pod-1")},
	}, parts)
	b := rendezvous{}.AssignGroups([]kafka.GroupMember{
		{ID: "random-9", Topics: []string{"t"}, UserData: []byte("pod-1")}, {ID: "random-7", Topics: []string{"t"}, UserData: []byte("pod-0")},
	}, parts)
	if !slices.Equal(a["random-1"]["t"], b["random-7"]["t"]) || !slices.Equal(a["random-2"]["t"], b["random-9"]["t"]) {
		t.Errorf("other member ids moved partitions: %v, then %v", a, b)
	}
	// Two members that claim one name still share the partitions.
	c := rendezvous{}.AssignGroups([]kafka.GroupMember{
		{ID: "x", Topics: []string{"t"}, UserData: []byte("pod-0")}, {ID: "y", Topics: []string{"t"}, UserData: []byte("pod-0")},
	}, parts)
	if len(c["x"]["t"])+len(c["y"]["t"]) != 3 {
		t.Errorf("members of one name: %v", c)
	}
}
