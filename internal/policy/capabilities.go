package policy

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// allowed are the builtin functions a policy may call. Each of them is pure and cannot take long on a small input: a
// judgement depends on the facts alone, so that the same snapshot gives the same findings anywhere, at any time. What
// reaches for the network, the clock, the process, keys or random numbers is left out, and so is what can eat memory in
// one call, which no deadline would stop (bits.lsh, numbers.range, net.cidr_expand ...).
var allowed = [...]string{
	// operators
	"and", "assign", "div", "eq", "equal", "gt", "gte", "lt", "lte", "minus", "mul", "neq", "or", "plus", "rem",
	"internal.member_2", "internal.member_3", "internal.print", "internal.template_string", "print",
	// numbers and aggregates
	"abs", "ceil", "count", "floor", "max", "min", "product", "round", "sort", "sum", "to_number",
	// arrays, sets, objects
	"array.concat", "array.flatten", "array.reverse", "array.slice", "intersection", "union",
	"object.filter", "object.get", "object.keys", "object.remove", "object.subset", "object.union", "object.union_n", "walk",
	// strings
	"concat", "contains", "endswith", "format_int", "indexof", "indexof_n", "lower", "replace", "split", "sprintf",
	"startswith", "strings.any_prefix_match", "strings.any_suffix_match", "strings.count", "strings.replace_n",
	"strings.reverse", "substring", "trim", "trim_left", "trim_prefix", "trim_right", "trim_space", "trim_suffix", "upper",
	"regex.find_all_string_submatch_n", "regex.find_n", "regex.is_valid", "regex.match", "regex.replace", "regex.split",
	// types
	"is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string", "type_name",
	// addresses
	"net.cidr_contains", "net.cidr_contains_matches", "net.cidr_intersects", "net.cidr_is_valid",
	// JSON text
	"json.is_valid", "json.marshal", "json.unmarshal",
}

// capabilities returns what policies may use: the language of this OPA, the allowed builtins, no network host.
func capabilities() *ast.Capabilities {
	caps := ast.CapabilitiesForThisVersion()
	caps.Builtins = slices.DeleteFunc(caps.Builtins, func(b *ast.Builtin) bool { return !slices.Contains(allowed[:], b.Name) })
	caps.AllowNet = []string{}
	return caps
}
