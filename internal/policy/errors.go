package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// maxErrors is how many errors of a file are shown: the first ones explain the rest.
const maxErrors = 5

// explain turns the errors of OPA's parser and compiler into ours: "file:line: cause", one a line, then what to do.
func explain(err error) error {
	var list ast.Errors
	var one *ast.Error
	switch {
	case errors.As(err, &list):
	case errors.As(err, &one):
		list = ast.Errors{one}
	default:
		return err
	}
	list.Sort()
	var lines, hints []string
	for i, e := range list {
		if i == maxErrors {
			lines = append(lines, fmt.Sprintf("and %d more errors", len(list)-i))
			break
		}
		lines = append(lines, position(e.Location)+e.Message)
		if h := hint(e); h != "" && !strings.Contains(strings.Join(hints, "\n"), h) {
			hints = append(hints, "hint: "+h)
		}
	}
	return errors.New(strings.Join(append(lines, hints...), "\n"))
}

func position(loc *ast.Location) string {
	if loc == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", loc.File, loc.Row)
}

// hint says what to do about an error; empty when its message says enough.
func hint(e *ast.Error) string {
	if name, ok := strings.CutPrefix(e.Message, "undefined function "); ok {
		if _, known := ast.BuiltinMap[name]; known {
			return fmt.Sprintf("%s is not available to policies: a control judges the facts in input, and nothing else", name)
		}
		return "check the function's name and its import"
	}
	switch {
	case e.Code == ast.RecursionErr:
		return "Rego has no recursion: walk the input with some ... in, or with walk()"
	case strings.Contains(e.Message, "unsafe"):
		return "declare the variable with some, or give it a value in a positive expression first"
	case e.Code == ast.ParseErr:
		return "the file is read as Rego v1: if before a rule's body, contains for sets"
	}
	return ""
}
