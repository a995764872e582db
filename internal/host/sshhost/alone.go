package sshhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kevinburke/ssh_config"
)

// aloneKeys are the keywords that are looked up where there is no ssh to ask.
func aloneKeys() []string {
	return []string{
		"HostName", "Port", "User", "IdentityFile", "IdentityAgent", "IdentitiesOnly", "CertificateFile", "ProxyJump", "ProxyCommand",
		"UserKnownHostsFile", "GlobalKnownHostsFile", "HostKeyAlias", "HashKnownHosts", "StrictHostKeyChecking", "ConnectTimeout",
		"ConnectionAttempts", "AddressFamily", "BindAddress", "BindInterface", "ServerAliveInterval", "ServerAliveCountMax",
		"RevokedHostKeys", "CASignatureAlgorithms", "KexAlgorithms", "Ciphers", "MACs", "HostKeyAlgorithms",
		"PubkeyAcceptedAlgorithms", "PubkeyAuthentication", "PreferredAuthentications", "PKCS11Provider", "VerifyHostKeyDNS",
		"KnownHostsCommand", "GSSAPIAuthentication", "CanonicalizeHostname",
	}
}

// resolveAlone reads the configuration without ssh: Host blocks and Include, but no Match and no canonical names.
func resolveAlone(file string, h hop) (*config, error) {
	me, err := user.Current()
	if err != nil {
		return nil, fmt.Errorf("who am I: %w", err)
	}
	files := []string{filepath.Join(me.HomeDir, ".ssh", "config"), "/etc/ssh/ssh_config"}
	if file != "" {
		files = []string{file}
	}
	values := map[string][]string{}
	for _, o := range h.options {
		key, value := keyword(o)
		values[key] = append(values[key], value)
	}
	commandLine(values, h)
	for _, name := range files {
		if err := readAlone(values, name, h.name, file != ""); err != nil {
			return nil, err
		}
	}
	c := &config{values: values, defaults: map[string][]string{}, name: h.name}
	if c.yes("canonicalizehostname") {
		return nil, errors.New("CanonicalizeHostname needs the ssh program, which is not in PATH")
	}
	fillAlone(c, me)
	return c, nil
}

func commandLine(values map[string][]string, h hop) {
	if h.port != 0 {
		values["port"] = []string{strconv.Itoa(h.port)}
	}
	if h.user != "" {
		values["user"] = []string{h.user}
	}
	if h.jump != "" {
		values["proxyjump"] = []string{h.jump}
	}
}

// readAlone adds what a file says of the host, where nothing was said before.
func readAlone(values map[string][]string, file, name string, must bool) error {
	if file == "none" {
		return nil
	}
	if err := refuseMatch(file, 0); err != nil {
		return err
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) && !must {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	parsed, err := ssh_config.Decode(f)
	if err != nil {
		return fmt.Errorf("read %s without the ssh program: %w", file, err)
	}
	for _, key := range aloneKeys() {
		found, err := parsed.GetAll(name, key)
		if err != nil {
			return fmt.Errorf("read %s: %s: %w", file, key, err)
		}
		lower := strings.ToLower(key)
		switch {
		case len(found) == 0:
		case lower == "identityfile" || lower == "certificatefile":
			values[lower] = append(values[lower], found...)
		case values[lower] == nil:
			values[lower] = found[:1]
		}
	}
	return nil
}

// refuseMatch looks for Match lines, whose conditions the parser does not know all of, in a file and in those that it includes.
func refuseMatch(file string, depth int) error {
	text, err := os.ReadFile(file)
	if err != nil || depth > 16 {
		return nil // whoever reads it says so
	}
	for line := range strings.Lines(string(text)) {
		key, value := keyword(strings.TrimSpace(line))
		if key == "match" {
			return fmt.Errorf("%s: Match needs the ssh program, which is not in PATH", file)
		}
		if key != "include" {
			continue
		}
		for word := range strings.FieldsSeq(value) {
			if err := refuseMatchIn(strings.Trim(word, `"`), file, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func refuseMatchIn(pattern, file string, depth int) error {
	me, err := user.Current()
	if err != nil {
		return fmt.Errorf("who am I: %w", err)
	}
	if rest, ok := strings.CutPrefix(pattern, "~/"); ok {
		pattern = filepath.Join(me.HomeDir, rest)
	}
	if !filepath.IsAbs(pattern) {
		dir := filepath.Join(me.HomeDir, ".ssh")
		if strings.HasPrefix(file, "/etc/") {
			dir = "/etc/ssh"
		}
		pattern = filepath.Join(dir, pattern)
	}
	found, _ := filepath.Glob(pattern)
	for _, name := range found {
		if err := refuseMatch(name, depth); err != nil {
			return err
		}
	}
	return nil
}

// fillAlone sets the defaults, and expands what ssh -G would have.
func fillAlone(c *config, me *user.User) {
	set := func(key string, value ...string) {
		if c.values[key] == nil {
			c.values[key] = value
			c.defaults[key] = value
		}
	}
	set("user", me.Username)
	set("port", "22")
	set("identityfile", "~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")
	set("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")
	set("globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2")
	if h := c.one("hostname"); h != "" {
		c.values["hostname"] = []string{strings.ReplaceAll(strings.ReplaceAll(h, "%h", c.name), "%n", c.name)}
	}
	for _, key := range []string{"userknownhostsfile", "globalknownhostsfile", "identityagent"} {
		for i, v := range c.values[key] {
			c.values[key][i] = expandWords(c, v)
		}
	}
	for _, key := range []string{"kexalgorithms", "ciphers", "macs", "hostkeyalgorithms", "pubkeyacceptedalgorithms", "casignaturealgorithms"} {
		if v := c.one(key); strings.ContainsAny(v, "+^-") && strings.IndexAny(v, "+^-") == 0 {
			delete(c.values, key) // relative to a default list that only ssh knows
		}
	}
}

func expandWords(c *config, v string) string {
	words := strings.Fields(v)
	for i, w := range words {
		if x, err := c.expand(strings.Trim(w, `"`)); err == nil {
			words[i] = x
		}
	}
	return strings.Join(words, " ")
}
