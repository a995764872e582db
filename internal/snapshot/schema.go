package snapshot

import _ "embed"

//go:generate go test . -run TestPublishedSchema -update

//go:embed snapshot.schema.json
var schema string

// Schema is the JSON Schema of a snapshot, draft 2020-12.
func Schema() []byte { return []byte(schema) }
