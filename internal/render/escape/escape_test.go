package escape

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	for in, want := range map[string]struct{ line, lines, ascii string }{
		"":                  {"", "", ""},
		"-i eth0 -j ACCEPT": {"-i eth0 -j ACCEPT", "-i eth0 -j ACCEPT", "-i eth0 -j ACCEPT"},
		"\x1b[31mred\x07":   {`\x1b[31mred\x07`, `\x1b[31mred\x07`, `\x1b[31mred\x07`},
		"\u009b2J\x7f":      {`\u009b2J\x7f`, `\u009b2J\x7f`, `\u009b2J\x7f`},
		"a\u202eb\u2066c":   {`a\u202eb\u2066c`, `a\u202eb\u2066c`, `a\u202eb\u2066c`},
		"a\r\nb\tc\nd\re":   {`a\x0d\x0ab\x09c\x0ad\x0de`, "a\nb    c\nd\\x0de", `a\x0d\x0ab\x09c\x0ad\x0de`},
		"\xff\xc3":          {"\ufffd\ufffd", "\ufffd\ufffd", `\ufffd\ufffd`},
		"\ufeff\u2028":      {`\ufeff\u2028`, `\ufeff\u2028`, `\ufeff\u2028`},
		"\U000e0001":        {`\U000e0001`, `\U000e0001`, `\U000e0001`},
		"größe 日本 \ufffd":   {"größe 日本 \ufffd", "größe 日本 \ufffd", `gr\u00f6\u00dfe \u65e5\u672c \ufffd`},
		"\x00]]>&<":         {`\x00]]>&<`, `\x00]]>&<`, `\x00]]>&<`},
	} {
		if got := Line(in); got != want.line {
			t.Errorf("Line(%q) = %q, want %q", in, got, want.line)
		}
		if got := Lines(in); got != want.lines {
			t.Errorf("Lines(%q) = %q, want %q", in, got, want.lines)
		}
		if got := ASCII(in); got != want.ascii {
			t.Errorf("ASCII(%q) = %q, want %q", in, got, want.ascii)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"plain", "\x1b]0;title\x07", "\u009b\u202e\U000e0041\xff\x00\r\n\t", "]]><!--&amp;", "\ud7ff\ufffe\uffff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, got := range map[string]string{"Line": Line(s), "ASCII": ASCII(s), "Lines": strings.ReplaceAll(Lines(s), "\n", "")} {
			if !utf8.ValidString(got) {
				t.Fatalf("%s(%q) is not UTF-8: %q", name, s, got)
			}
			for _, r := range got {
				if !unicode.IsPrint(r) || name == "ASCII" && r > '~' {
					t.Fatalf("%s(%q) lets %U through", name, s, r)
				}
			}
			if Line(got) != got {
				t.Fatalf("%s(%q) is not stable", name, s)
			}
		}
		checkXML(t, Lines(s))
		checkJSON(t, s)
	})
}

// checkXML: the escaped text survives an XML writer and reader unchanged.
func checkXML(t *testing.T, s string) {
	t.Helper()
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		t.Fatal(err)
	}
	dec := xml.NewDecoder(strings.NewReader("<a>" + b.String() + "</a>"))
	var text strings.Builder
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%q is not well-formed XML: %v", s, err)
		}
		if c, ok := tok.(xml.CharData); ok {
			text.Write(c)
		}
	}
	if text.String() != s {
		t.Fatalf("XML changes %q into %q", s, text.String())
	}
}

// checkJSON: the document means the same as before, and nothing in it is unprintable.
func checkJSON(t *testing.T, s string) {
	t.Helper()
	doc, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var before, after string
	safe := JSON(doc)
	if err := json.Unmarshal(doc, &before); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(safe, &after); err != nil || before != after {
		t.Fatalf("%s became %s: %v", doc, safe, err)
	}
	for _, r := range string(safe) {
		if !unicode.IsPrint(r) {
			t.Fatalf("JSON(%s) lets %U through", doc, r)
		}
	}
}
