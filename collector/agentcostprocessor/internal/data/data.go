// Package data holds the facts both languages share: the very bytes the Python package loads.
//
// `make generate` writes the files from semconv/ and prices/. Never edit them by hand.
package data

import _ "embed"

// Dialects is semconv/dialects/: how emitters write consumption on spans.
//
//go:embed dialects.json
var Dialects []byte

// Providers is semconv/providers.yaml: names, hosts and model addressing of those who bill.
//
//go:embed providers.json
var Providers []byte

// Units is semconv/units.yaml: the billable units.
//
//go:embed units.json
var Units []byte

// Prices is the dated price book.
//
//go:embed prices.json
var Prices []byte

// Fees is prices/fees.yaml: what tools and APIs cost.
//
//go:embed fees.json
var Fees []byte

// Compute is prices/compute.yaml: what machines cost.
//
//go:embed compute.json
var Compute []byte
