package sshhost

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// config is what ssh would do for one host: the lines of `ssh -G`, keywords in lower case. The values may be shared between
// hosts; name is the host's own.
type config struct {
	values   map[string][]string
	defaults map[string][]string // the values without any configuration
	name     string              // as asked for
	shared   bool                // values are of another host, which differs in the name alone
}

func (c *config) one(key string) string {
	if v := c.values[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// set is the value, or "" where ssh says that there is none.
func (c *config) set(key string) string {
	if v := c.one(key); v != "none" {
		return v
	}
	return ""
}

func (c *config) yes(key string) bool {
	switch c.one(key) {
	case "yes", "true", "always", "ask":
		return true
	}
	return false
}

// seconds reads a time in seconds, as ssh prints it; 0 where there is none.
func (c *config) seconds(key string) time.Duration {
	n, err := strconv.ParseInt(c.one(key), 10, 32)
	if err != nil || n <= 0 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// explicit says whether somebody configured the keyword to something else than its default.
func (c *config) explicit(key string) bool { return !slices.Equal(c.values[key], c.defaults[key]) }

// hostname is the name or address to connect to.
func (c *config) hostname() string {
	if h := c.one("hostname"); h != "" && !c.shared {
		return h
	}
	return strings.ToLower(c.name)
}

func (c *config) port() string {
	if p := c.one("port"); p != "" {
		return p
	}
	return "22"
}

// address is where to connect, "host:port".
func (c *config) address() string { return joinHostPort(c.hostname(), c.port()) }

func joinHostPort(host, port string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}

// knownAs is how known_hosts calls the host, and how it does without the port ("" where that is the same).
func (c *config) knownAs() (name, bare string) {
	if alias := c.set("hostkeyalias"); alias != "" {
		return strings.ToLower(alias), ""
	}
	host := strings.ToLower(c.hostname())
	if c.port() == "22" {
		return host, ""
	}
	return "[" + host + "]:" + c.port(), host
}

// paths splits a line of several files. ssh prints them unquoted and absolute, so what does not begin with a slash is the
// rest of a name with a space in it.
func (c *config) paths(key string) []string {
	var out []string
	for w := range strings.SplitSeq(strings.Join(c.values[key], " "), " ") {
		switch {
		case w == "none" && len(out) == 0, w == "":
		case len(out) > 0 && !strings.HasPrefix(w, "/") && !strings.HasPrefix(w, "~"):
			out[len(out)-1] += " " + w
		default:
			out = append(out, w)
		}
	}
	return out
}

// list splits a list of algorithms.
func (c *config) list(key string) []string {
	v := c.one(key)
	if v == "" {
		return nil
	}
	return strings.Split(v, ",")
}

// expand replaces ~, ${VARIABLE} and the tokens of ssh_config(5) in a file name.
func (c *config) expand(path string) (string, error) {
	me, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("who am I: %w", err)
	}
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || rest[0] == '/') {
		path = me.HomeDir + rest
	}
	if path, err = expandEnvironment(path); err != nil || !strings.Contains(path, "%") {
		return path, err
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			b.WriteByte(path[i])
			continue
		}
		if i++; i == len(path) {
			return "", fmt.Errorf("%s: a lone %% at the end", path)
		}
		text, ok := c.token(path[i], me)
		if !ok {
			return "", fmt.Errorf("%s: unknown token %%%c", path, path[i])
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// token is one of the tokens that file names take (ssh_config(5), TOKENS).
func (c *config) token(t byte, me *user.User) (string, bool) {
	local, _ := os.Hostname()
	short, _, _ := strings.Cut(local, ".")
	alias := c.set("hostkeyalias")
	if alias == "" {
		alias = c.hostname()
	}
	switch t {
	case '%':
		return "%", true
	case 'C':
		sum := sha1.Sum([]byte(local + c.hostname() + c.port() + c.one("user") + c.set("proxyjump")))
		return hex.EncodeToString(sum[:]), true
	}
	text, ok := map[byte]string{
		'd': me.HomeDir, 'h': c.hostname(), 'i': me.Uid, 'j': c.set("proxyjump"), 'k': alias, 'L': short, 'l': local, 'n': c.name,
		'p': c.port(), 'r': c.one("user"), 'u': me.Username,
	}[t]
	return text, ok
}

// expandEnvironment replaces ${NAME}; ssh, too, refuses names that are not set.
func expandEnvironment(s string) (string, error) {
	for {
		before, rest, ok := strings.Cut(s, "${")
		if !ok {
			return s, nil
		}
		name, after, ok := strings.Cut(rest, "}")
		value, there := os.LookupEnv(name)
		if !ok || !there {
			return "", fmt.Errorf("%s: no environment variable %q", s, name)
		}
		s = before + value + after
	}
}

// files expands the names of a keyword that ssh prints as they were written.
func (c *config) files(key string) ([]string, error) {
	var out []string
	for _, v := range c.values[key] {
		if v == "none" || v == "" {
			continue
		}
		path, err := c.expand(v)
		if err != nil {
			return nil, fmt.Errorf("%s %w", key, err)
		}
		if !filepath.IsAbs(path) {
			if path, err = filepath.Abs(path); err != nil {
				return nil, err
			}
		}
		out = append(out, path)
	}
	return out, nil
}

// parseConfig reads the output of ssh -G.
func parseConfig(text string) map[string][]string {
	values := map[string][]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		key = strings.ToLower(key)
		values[key] = append(values[key], value)
	}
	return values
}
