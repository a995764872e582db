package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/ctaudit/ctaudit/internal/report"
)

// fingerprintVersion changes when fingerprints can no longer be compared with older ones.
const fingerprintVersion = "ctaudit/1"

// outcomes are what a control may say; waived is not for policies to give.
var outcomes = [...]report.Outcome{report.Fail, report.Unknown, report.Pass, report.NotApplicable}

// decode reads what an evaluation gave for every control, and requires that every control spoke.
func (e *Engine) decode(host string, answers *ast.Array) ([]report.Result, error) {
	out := make([]report.Result, 0, 2*len(e.controls))
	for i, c := range e.controls {
		terms := members(answers.Elem(i).Value)
		if len(terms) == 0 {
			return nil, broken(c, errors.New("no result: every control has to give one, not-applicable at least"))
		}
		begin := len(out)
		for _, term := range terms {
			r, err := decodeResult(c, term.Value)
			if err != nil {
				return nil, broken(c, err)
			}
			out = append(out, r)
		}
		results := out[begin:]
		slices.SortFunc(results, compareResults)
		distinguish(results)
		for i := range results {
			results[i].Fingerprint = fingerprint(c.ID, host, results[i].Subject)
		}
	}
	return out, nil
}

// broken says that a control breaks its contract: an internal error when it is ours.
func broken(c report.Control, err error) error {
	if c.Source == embeddedSource {
		return fmt.Errorf("internal error: control %s: %w", c.ID, err)
	}
	return fmt.Errorf("%s: control %s: %w", c.Source, c.ID, err)
}

// compareResults orders a control's results by subject, the worst first where subjects are equal.
func compareResults(a, b report.Result) int {
	return cmp.Or(
		strings.Compare(a.Subject, b.Subject),
		cmp.Compare(slices.Index(outcomes[:], a.Outcome), slices.Index(outcomes[:], b.Outcome)),
		strings.Compare(a.Message, b.Message),
		strings.Compare(a.Fix, b.Fix),
		strings.Compare(a.Hint, b.Hint),
	)
}

// distinguish numbers results with the same subject. Policies give one result a subject; a document that names a thing
// twice must neither lose a finding nor give two the same fingerprint.
func distinguish(sorted []report.Result) {
	subject, n := "", 0
	for i := range sorted {
		if i > 0 && sorted[i].Subject == subject {
			n++
			sorted[i].Subject = fmt.Sprintf("%s #%d", subject, n+1)
			continue
		}
		subject, n = sorted[i].Subject, 0
	}
}

func fingerprint(control, host, subject string) string {
	h := sha256.Sum256([]byte(strings.Join([]string{fingerprintVersion, control, host, subject}, "\x00")))
	return hex.EncodeToString(h[:])
}

// decodeResult reads one result strictly. A result without severity has its control's.
func decodeResult(c report.Control, v ast.Value) (report.Result, error) {
	r := report.Result{Control: c.ID, Severity: c.Severity, Evidence: []report.Evidence{}}
	obj, ok := v.(ast.Object)
	if !ok {
		return r, fmt.Errorf("a result is not an object")
	}
	if err := obj.Iter(func(name, v *ast.Term) error { return setField(&r, name.Value, v.Value) }); err != nil {
		return r, err
	}
	switch {
	case !slices.Contains(outcomes[:], r.Outcome):
		return r, fmt.Errorf("outcome %q is none of pass, fail, not-applicable, unknown", r.Outcome)
	case !slices.Contains(report.Severities[:], r.Severity):
		return r, fmt.Errorf("severity %q is none of info, low, medium, high, critical", r.Severity)
	case r.Subject == "" || r.Message == "":
		return r, fmt.Errorf("a result without subject or message")
	}
	return r, nil
}

func setField(r *report.Result, key, v ast.Value) error {
	name, ok := text(key)
	if !ok {
		return fmt.Errorf("unknown result field %s", key)
	}
	if name == "evidence" {
		return setEvidence(r, v)
	}
	words, ok := text(v)
	if !ok {
		return fmt.Errorf("result field %q is not text", name)
	}
	switch name {
	case "outcome":
		r.Outcome = report.Outcome(words)
	case "severity":
		r.Severity = report.Severity(words)
	case "subject":
		r.Subject = words
	case "message":
		r.Message = words
	case "fix":
		r.Fix = words
	case "hint":
		r.Hint = words
	default:
		return fmt.Errorf("unknown result field %q", name)
	}
	return nil
}

func text(v ast.Value) (string, bool) {
	s, ok := v.(ast.String)
	return string(s), ok
}

// setEvidence reads a list, or a set, which it takes in its order.
func setEvidence(r *report.Result, v ast.Value) error {
	if set, ok := v.(ast.Set); ok {
		v = set.Sorted()
	}
	list, ok := v.(*ast.Array)
	if !ok {
		return fmt.Errorf("evidence is not an array")
	}
	for i := range list.Len() {
		e, ok := evidence(list.Elem(i).Value)
		if !ok {
			return fmt.Errorf("evidence %d is not an object of kind, name and value, all text", i)
		}
		r.Evidence = append(r.Evidence, e)
	}
	return nil
}

func evidence(v ast.Value) (e report.Evidence, ok bool) {
	obj, ok := v.(ast.Object)
	if !ok || obj.Len() != 3 {
		return e, false
	}
	for _, f := range [...]struct {
		name string
		to   *string
	}{{"kind", &e.Kind}, {"name", &e.Name}, {"value", &e.Value}} {
		term := obj.Get(ast.InternedTerm(f.name))
		if term == nil {
			return e, false
		}
		if *f.to, ok = text(term.Value); !ok {
			return e, false
		}
	}
	return e, true
}
