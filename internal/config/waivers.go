package config

import (
	"errors"
	"fmt"
	"path"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/ctaudit/ctaudit/internal/report"
)

// waiverFile is the file as users write it:
//
//	version: 1
//	waivers:
//	  - control: CT-TAB-047        # a control id, or a glob
//	    host: "edge-*"             # a host's name, or a glob; default: every host
//	    subject: "node"            # what the result is about, or a glob; default: everything
//	    reason: long-lived database connections, agreed with the owners
//	    expires: 2027-03-31        # the last day; default: never
type waiverFile struct {
	Version int         `yaml:"version"`
	Waivers []yaml.Node `yaml:"waivers"`
}

type waiverEntry struct {
	Control string `yaml:"control"`
	Host    string `yaml:"host"`
	Subject string `yaml:"subject"`
	Reason  string `yaml:"reason"`
	Expires string `yaml:"expires"`
}

var waiverKeys = []string{"control", "host", "subject", "reason", "expires"}

// ParseWaivers reads a waiver file. Waivers that ended before today are returned apart: they waive nothing, and their owner
// wants to know.
func ParseWaivers(text []byte, today time.Time) (active, expired []report.Waiver, err error) {
	m, err := mapping(text)
	if err != nil || m == nil {
		return nil, nil, err
	}
	if err := onlyKeys(m, []string{"version", "waivers"}); err != nil {
		return nil, nil, err
	}
	var f waiverFile
	if err := m.Decode(&f); err != nil {
		return nil, nil, err
	}
	if f.Version != 1 {
		return nil, nil, fmt.Errorf("line %d: version %d: this ctaudit reads version 1", m.Line, f.Version)
	}
	for i := range f.Waivers {
		w, err := parseWaiver(&f.Waivers[i])
		if err != nil {
			return nil, nil, fmt.Errorf("line %d: %w", f.Waivers[i].Line, err)
		}
		if !w.Expires.IsZero() && today.After(w.Expires.AddDate(0, 0, 1)) {
			expired = append(expired, w)
		} else {
			active = append(active, w)
		}
	}
	return active, expired, nil
}

func onlyKeys(m *yaml.Node, known []string) error {
	for i := 0; i+1 < len(m.Content); i += 2 {
		key := m.Content[i]
		found := false
		for _, k := range known {
			found = found || k == key.Value
		}
		if !found {
			return fmt.Errorf("line %d: unknown key %q%s", key.Line, key.Value, DidYouMean(key.Value, known))
		}
	}
	return nil
}

func parseWaiver(n *yaml.Node) (report.Waiver, error) {
	var e waiverEntry
	if n.Kind != yaml.MappingNode {
		return report.Waiver{}, errors.New("want a mapping with control and reason")
	}
	if err := onlyKeys(n, waiverKeys); err != nil {
		return report.Waiver{}, err
	}
	if err := n.Decode(&e); err != nil {
		return report.Waiver{}, err
	}
	w := report.Waiver{Control: e.Control, Host: e.Host, Subject: e.Subject, Reason: e.Reason}
	if e.Control == "" || e.Reason == "" {
		return w, errors.New("a waiver needs a control and a reason")
	}
	for _, glob := range []string{e.Control, e.Host, e.Subject} {
		if _, err := path.Match(glob, ""); err != nil {
			return w, fmt.Errorf("%q: %w", glob, err)
		}
	}
	if e.Expires != "" {
		day, err := time.Parse(time.DateOnly, e.Expires)
		if err != nil {
			return w, fmt.Errorf("expires %q: want a day such as 2027-03-31", e.Expires)
		}
		w.Expires = day
	}
	return w, nil
}
