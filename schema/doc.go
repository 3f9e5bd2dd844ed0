// Package schema holds the contracts between Carom's services: the records on the wire (protobuf, package carom.v1),
// topic names, and the ClickHouse tables. It imports nothing of Carom; everything else may import it.
package schema

//go:generate protoc --proto_path=. --go_out=. --go_opt=paths=source_relative --go-vtproto_out=. --go-vtproto_opt=paths=source_relative,features=marshal+unmarshal+unmarshal_unsafe+size+clone carom.proto
