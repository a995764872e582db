package report

import _ "embed"

//go:generate go test . -run TestPublishedSchemas -update

//go:embed report.schema.json
var schema string

//go:embed trace.schema.json
var traceSchema string

// Schema is the JSON Schema of the report, draft 2020-12.
func Schema() []byte { return []byte(schema) }

// TraceSchema is the JSON Schema of [Trace].
func TraceSchema() []byte { return []byte(traceSchema) }
