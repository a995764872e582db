package proof

import _ "embed"

//go:generate go test . -run TestPublishedSchema -update

//go:embed proof.schema.json
var schema string

// Schema is the JSON Schema of [Document], draft 2020-12.
func Schema() []byte { return []byte(schema) }
