package kernel

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// config reads the running kernel's configuration: what the kernel itself carries (CONFIG_IKCONFIG_PROC), else the file that
// the distribution installed for this release. Absent: there is none on this node.
func (r *reader) config(release string) snapshot.Value[configured] {
	const what = "kernel configuration"
	own, missing := collect.Parse(r.ev.Answer(file(pathConfig)), what+" ("+pathConfig+")", r.known.packed.parse(parseConfigGzip))
	if _, ok := own.Get(); ok {
		return own
	}
	fallback, ok := parseInstalled(r, []string{globConfig, globModConfig}, release, r.known.plain.parse(parseConfig))
	if ok {
		return fallback
	}
	r.missing = append(r.missing, missing...)
	if own.IsUnreadable() {
		return own
	}
	if why, hint := fallback.Why(); why != "" {
		r.miss(what, why, hint)
	}
	return fallback
}

// parseInstalled parses the file that belongs to the running release out of those that the patterns found. ok says that there
// is a value; otherwise the value is absent, or unreadable with the reason.
func parseInstalled[T any](r *reader, patterns []string, release string, parse func([]byte) (T, error)) (v snapshot.Value[T], ok bool) {
	v = snapshot.Absent[T]()
	for _, pattern := range patterns {
		a := r.ev.Answer(glob(pattern))
		b, found := a.Files[strings.Replace(pattern, "*", release, 1)]
		switch why, hint := collect.Trouble(a); {
		case found && release != "" && !a.Truncated:
			parsed, err := parse(b)
			if err == nil {
				return snapshot.Known(parsed), true
			}
			v = snapshot.Unreadable[T](err.Error(), "")
		case why != "":
			v = snapshot.Unreadable[T](why, hint)
		}
	}
	return v, false
}

// configured is a kernel's configuration: the options that concern netfilter, and the modules that these build in.
type configured struct {
	options map[string]string
	builtin []string
}

func optionsOf(config snapshot.Value[configured]) snapshot.Value[map[string]string] {
	c, known := config.Get()
	switch {
	case known:
		return snapshot.Known(c.options)
	case config.IsAbsent():
		return snapshot.Absent[map[string]string]()
	}
	return snapshot.Unreadable[map[string]string](config.Why())
}

// maxConfig bounds a configuration once unpacked; a distribution's is below 400 KiB.
const maxConfig = 4 << 20

// parseConfigGzip unpacks /proc/config.gz and reads it as parseConfig does. It never unpacks more than maxConfig.
func parseConfigGzip(b []byte) (configured, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return configured{}, fmt.Errorf("unpack: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(z, maxConfig+1))
	if err != nil {
		return configured{}, fmt.Errorf("unpack: %w", err)
	}
	return parseConfig(text)
}

// parseConfig keeps what concerns netfilter of a kernel configuration (scripts/kconfig/confdata.c): "CONFIG_X=y" and
// "# CONFIG_X is not set", which reads as "n". A text without any option at all is no configuration.
func parseConfig(b []byte) (configured, error) {
	if len(b) > maxConfig {
		return configured{}, fmt.Errorf("longer than %d bytes", maxConfig)
	}
	out := map[string]string{}
	options := 0
	for line := range bytes.Lines(b) {
		name, value, ok := option(strings.TrimRight(string(line), "\r\n"))
		if !ok {
			continue
		}
		options++
		if !concerns(name) {
			continue
		}
		if !printable(name) || !printable(value) || len(name)+len(value) > maxLine {
			return configured{}, errors.New("an option is not one line of text")
		}
		out[name] = value
	}
	if options == 0 {
		return configured{}, errors.New("no option in it")
	}
	return configured{options: out, builtin: builtinByConfig(out)}, nil
}

func option(line string) (name, value string, ok bool) {
	if rest, unset := strings.CutPrefix(line, "# CONFIG_"); unset {
		name, found := strings.CutSuffix(rest, " is not set")
		return "CONFIG_" + name, "n", found
	}
	if !strings.HasPrefix(line, "CONFIG_") {
		return "", "", false
	}
	return strings.Cut(line, "=")
}

// concerns reports whether an option is about netfilter, or about modules as such.
func concerns(name string) bool {
	if name == "CONFIG_MODULES" {
		return true
	}
	for _, prefix := range [...]string{
		"CONFIG_NETFILTER", "CONFIG_NF_", "CONFIG_NFT_", "CONFIG_IP_NF_", "CONFIG_IP6_NF_", "CONFIG_BRIDGE_NETFILTER", "CONFIG_IP_VS",
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
