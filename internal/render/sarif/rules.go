package sarif

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ctaudit/ctaudit/internal/render/escape"
	"github.com/ctaudit/ctaudit/internal/report"
)

// GitHub's limits for the fields of a rule.
const (
	maxDescription = 1024 // characters of shortDescription and fullDescription
	maxTags        = 20
)

func rules(controls []report.Control) []rule {
	out := make([]rule, 0, len(controls))
	for _, c := range controls {
		c.Title = orElse(c.Title, c.ID)
		out = append(out, rule{
			ID:                   escape.Line(c.ID),
			Name:                 ruleName(c),
			ShortDescription:     message{Text: short(sentence(escape.Line(c.Title)), maxDescription)},
			FullDescription:      message{Text: short(sentence(escape.Lines(orElse(c.Description, c.Title))), maxDescription)},
			Help:                 help(c),
			HelpURI:              helpURI(c),
			DefaultConfiguration: configuration{Level: level(c.Severity)},
			Properties: ruleProperties{
				Tags:             tags(c),
				Precision:        "high",
				SecuritySeverity: securitySeverity(c.Severity),
			},
		})
	}
	return out
}

func tags(c report.Control) []string {
	t := []string{"security", "network", "conntrack"}
	if c.Area != "" {
		t = append(t, escape.Line(c.Area))
	}
	return t[:min(len(t), maxTags)]
}

func help(c report.Control) message {
	text := strings.TrimSpace(c.Description + "\n\n" + c.Remediation)
	if len(c.References) > 0 {
		text += "\n\n" + strings.Join(c.References, "\n")
	}
	text = escape.Lines(orElse(strings.TrimSpace(text), c.Title))
	return message{Text: text, Markdown: escape.Lines(orElse(c.Help, text))}
}

func helpURI(c report.Control) string {
	for _, ref := range c.References {
		if strings.HasPrefix(ref, "https://") && !strings.ContainsFunc(ref, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return ref
		}
	}
	return ""
}

// ruleName is the title as one identifier in PascalCase, which is what a rule's name is in SARIF.
func ruleName(c report.Control) string {
	var b strings.Builder
	words := strings.FieldsFunc(c.Title, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	for _, word := range words {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	name := b.String()
	if name == "" || !unicode.IsLetter(rune(name[0])) {
		name = "Control" + name
	}
	return name
}

func level(s report.Severity) string {
	switch s {
	case report.Critical, report.High:
		return "error"
	case report.Medium:
		return "warning"
	}
	return "note"
}

// securitySeverity is GitHub's score: over 9.0 critical, 7.0 high, 4.0 medium, else low; nothing for a remark.
func securitySeverity(s report.Severity) string {
	switch s {
	case report.Critical:
		return "9.5"
	case report.High:
		return "8.0"
	case report.Medium:
		return "5.5"
	case report.Low:
		return "2.0"
	}
	return ""
}

// sentence ends the text with a full stop, as SARIF asks of messages.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || strings.ContainsRune(".!?", rune(s[len(s)-1])) {
		return s
	}
	return s + "."
}

// short cuts a text at a word, and shows that it did.
func short(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	cut := string([]rune(s)[:limit-4])
	if i := strings.LastIndexAny(cut, " \n"); i > 0 {
		cut = cut[:i]
	}
	return cut + " ..."
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
