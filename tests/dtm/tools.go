//go:build tools

// Package tools names the program that the tests of transactions over several services start: the
// TCC coordinator dtm. Nothing is compiled from this file; it keeps the program's module, and with
// it everything that it is built of, in go.mod and go.sum, so that every machine builds the same.
// `cargo xtask test` does so where Go is installed; by hand, in this folder:
//
//	go build -o ../../target/dtm/dtm github.com/dtm-labs/dtm
//
// To move to another version, change it in go.mod, remove go.sum and run
//
//	GONOSUMDB='github.com/dtm-labs/*' GOFLAGS=-mod=mod go build -o ../../target/dtm/dtm github.com/dtm-labs/dtm
//
// which writes both anew. The exception is needed because the public checksum database does not know
// this module; afterwards go.sum alone vouches for it.
package tools

import _ "github.com/dtm-labs/dtm"
