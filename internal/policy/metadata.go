package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/ctaudit/ctaudit/internal/report"
)

// control reads a control from the METADATA of its package: title, description, related_resources, and severity and
// remediation under custom. It is the only home of these texts.
func control(m *module) (report.Control, error) {
	a := packageAnnotations(m.ast)
	if a == nil {
		return report.Control{}, complain(m, "no METADATA above the package", "see any policy.rego of ctaudit for the form")
	}
	c := report.Control{ID: m.id, Area: m.area, Title: a.Title, Description: strings.TrimSpace(a.Description), Source: m.source, Help: m.help}
	for _, r := range a.RelatedResources {
		c.References = append(c.References, r.Ref.String())
	}
	severity, err := customText(m, a, "severity")
	if err != nil {
		return c, err
	}
	c.Severity = report.Severity(severity)
	if !slices.Contains(report.Severities[:], c.Severity) {
		return c, complain(m, fmt.Sprintf("METADATA custom.severity is %q", severity), "one of info, low, medium, high, critical")
	}
	if c.Remediation, err = customText(m, a, "remediation"); err != nil {
		return c, err
	}
	if c.Title == "" || c.Description == "" {
		return c, complain(m, "METADATA without title or description", "write both; checks and explain print them")
	}
	return c, nil
}

func packageAnnotations(m *ast.Module) *ast.Annotations {
	for _, a := range m.Annotations {
		if a.Scope == "package" || a.Scope == "subpackages" {
			return a
		}
	}
	return nil
}

func customText(m *module, a *ast.Annotations, key string) (string, error) {
	s, ok := a.Custom[key].(string)
	if !ok || strings.TrimSpace(s) == "" {
		return "", complain(m, "METADATA without custom."+key, "write it as text under custom")
	}
	return strings.TrimSpace(s), nil
}

func complain(m *module, cause, hint string) error {
	return fmt.Errorf("%s:%d: control %s: %s\nhint: %s", m.file, m.ast.Package.Location.Row, m.id, cause, hint)
}
