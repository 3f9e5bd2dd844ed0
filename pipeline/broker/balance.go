package broker

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
	"github.com/segmentio/kafka-go"
)

// rendezvous assigns partitions by highest random weight over the members' stable names (the host name of a
// StatefulSet's pod), with no member above its even share: when a member leaves and comes back, few other partitions
// move, and its own come back to where their snapshots lie.
type rendezvous struct{ member string }

func (rendezvous) ProtocolName() string { return "carom-rendezvous" }

func (b rendezvous) UserData() ([]byte, error) { return []byte(b.member), nil }

func (rendezvous) AssignGroups(members []kafka.GroupMember, partitions []kafka.Partition) kafka.GroupMemberAssignments {
	out := make(kafka.GroupMemberAssignments, len(members))
	byTopic := map[string][]int{}
	for _, p := range partitions {
		byTopic[p.Topic] = append(byTopic[p.Topic], p.ID)
	}
	for topic, ids := range byTopic {
		var names, memberIDs []string
		for _, m := range members {
			if slices.Contains(m.Topics, topic) {
				memberIDs = append(memberIDs, m.ID)
				name := string(m.UserData)
				if name == "" || slices.Contains(names, name) {
					name = m.ID
				}
				names = append(names, name)
			}
		}
		for i, owned := range assign(names, topic, ids) {
			if out[memberIDs[i]] == nil {
				out[memberIDs[i]] = map[string][]int{}
			}
			out[memberIDs[i]][topic] = owned
		}
	}
	return out
}

// assign returns the partitions of each member, sorted. It depends on the names only, not on their order.
func assign(names []string, topic string, partitions []int) [][]int {
	owned := make([][]int, len(names))
	if len(names) == 0 {
		return owned
	}
	type pair struct {
		weight            uint64
		member, partition int
	}
	var pairs []pair
	for m, name := range names {
		for _, p := range partitions {
			key := name + "\x00" + topic + "\x00" + strconv.Itoa(p)
			pairs = append(pairs, pair{xxhash.Sum64String(key), m, p})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(names[a.member], names[b.member]), cmp.Compare(a.partition, b.partition))
	})
	// Even shares: the first "extra" members to fill up take one more.
	share, extra := len(partitions)/len(names), len(partitions)%len(names)
	taken := map[int]bool{}
	for _, p := range pairs {
		limit := share
		if extra > 0 {
			limit++
		}
		if taken[p.partition] || len(owned[p.member]) >= limit {
			continue
		}
		taken[p.partition] = true
		owned[p.member] = append(owned[p.member], p.partition)
		if len(owned[p.member]) == share+1 {
			extra--
		}
	}
	for i := range owned {
		slices.Sort(owned[i])
	}
	return owned
}
