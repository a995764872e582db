package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/report"
)

// fingerprintVersion changes when fingerprints can no longer be compared with older ones.
const fingerprintVersion = "ctaudit/1"

// outcomes are what a control may say; waived is not for policies to give.
var outcomes = [...]report.Outcome{report.Fail, report.Unknown, report.Pass, report.NotApplicable}

// decode reads what the entry point gave, an object from control id to results, and requires that every control spoke.
func (e *Engine) decode(host string, v any) ([]report.Result, error) {
	all, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("internal error: data.ctaudit.results is not an object")
	}
	var out []report.Result
	for _, c := range e.controls {
		list, ok := all[c.ID].([]any)
		if !ok || len(list) == 0 {
			return nil, broken(c, errors.New("no result: every control has to give one, not-applicable at least"))
		}
		results, err := decodeControl(c, list)
		if err != nil {
			return nil, broken(c, err)
		}
		for i := range results {
			results[i].Fingerprint = fingerprint(c.ID, host, results[i].Subject)
		}
		out = append(out, results...)
	}
	return out, nil
}

// broken says that a control breaks its contract: an internal error when it is ours.
func broken(c report.Control, err error) error {
	if c.Source == "embedded" {
		return fmt.Errorf("internal error: control %s: %w", c.ID, err)
	}
	return fmt.Errorf("%s: control %s: %w", c.Source, c.ID, err)
}

func decodeControl(c report.Control, list []any) ([]report.Result, error) {
	var out []report.Result
	for _, v := range list {
		r, err := decodeResult(c, v)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	slices.SortFunc(out, compareResults)
	distinguish(out)
	return out, nil
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
func decodeResult(c report.Control, v any) (report.Result, error) {
	r := report.Result{Control: c.ID, Severity: c.Severity, Evidence: []report.Evidence{}}
	obj, ok := v.(map[string]any)
	if !ok {
		return r, fmt.Errorf("a result is not an object")
	}
	for _, name := range slices.Sorted(maps.Keys(obj)) {
		if err := setField(&r, name, obj[name]); err != nil {
			return r, err
		}
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

func setField(r *report.Result, name string, v any) error {
	if name == "evidence" {
		return setEvidence(r, v)
	}
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("result field %q is not text", name)
	}
	switch name {
	case "outcome":
		r.Outcome = report.Outcome(text)
	case "severity":
		r.Severity = report.Severity(text)
	case "subject":
		r.Subject = text
	case "message":
		r.Message = text
	case "fix":
		r.Fix = text
	case "hint":
		r.Hint = text
	default:
		return fmt.Errorf("unknown result field %q", name)
	}
	return nil
}

func setEvidence(r *report.Result, v any) error {
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("evidence is not an array")
	}
	for i, x := range list {
		obj, _ := x.(map[string]any)
		kind, ok1 := obj["kind"].(string)
		name, ok2 := obj["name"].(string)
		value, ok3 := obj["value"].(string)
		if !ok1 || !ok2 || !ok3 || len(obj) != 3 {
			return fmt.Errorf("evidence %d is not an object of kind, name and value, all text", i)
		}
		r.Evidence = append(r.Evidence, report.Evidence{Kind: kind, Name: name, Value: value})
	}
	return nil
}
