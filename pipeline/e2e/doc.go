// Package e2e holds tests only: the three services on a real Kafka protocol and a real ClickHouse, killed and restarted,
// and an outage found, held, alerted and released.
package e2e
