package sshhost

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// chosen are the algorithms of one kind: the library's secure ones, or those that the configuration names, where the library
// has them. What is old and weak is used only when it is named.
func chosen(cfg *config, key string, secure, insecure []string) []string {
	if !cfg.explicit(key) {
		return secure
	}
	var out []string
	for _, a := range cfg.list(key) {
		if a == "curve25519-sha256@libssh.org" { // the older name of the same
			a = ssh.KeyExchangeCurve25519
		}
		if (slices.Contains(secure, a) || slices.Contains(insecure, a)) && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// transport is the part of the library's configuration that the two sides negotiate; missing names what is configured and
// not built in.
func transport(cfg *config) (out ssh.Config, missing string) {
	good, bad := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	for _, k := range []struct {
		key              string
		secure, insecure []string
		into             *[]string
	}{
		{"kexalgorithms", good.KeyExchanges, bad.KeyExchanges, &out.KeyExchanges},
		{"ciphers", good.Ciphers, bad.Ciphers, &out.Ciphers},
		{"macs", good.MACs, bad.MACs, &out.MACs},
		{"hostkeyalgorithms", good.HostKeys, bad.HostKeys, new([]string)},
	} {
		*k.into = chosen(cfg, k.key, k.secure, k.insecure)
		if len(*k.into) == 0 {
			missing = fmt.Sprintf("%s %s is not built in", k.key, printable(cfg.one(k.key), 60))
		}
	}
	return out, missing
}

// systemReason says why a host has to go through the system's ssh, "" when it need not.
func systemReason(cfg *config) string {
	switch {
	case cfg.set("proxycommand") != "":
		return "ProxyCommand"
	case cfg.set("pkcs11provider") != "":
		return "PKCS11Provider"
	case cfg.set("knownhostscommand") != "":
		return "KnownHostsCommand"
	case cfg.yes("verifyhostkeydns"):
		return "VerifyHostKeyDNS"
	case cfg.set("bindinterface") != "":
		return "BindInterface"
	case cfg.one("pubkeyauthentication") == "no" || cfg.one("pubkeyauthentication") == "false":
		return "PubkeyAuthentication no"
	}
	if p := cfg.one("preferredauthentications"); p != "" && !slices.Contains(strings.Split(p, ","), "publickey") {
		return "PreferredAuthentications without publickey"
	}
	if revoked, err := cfg.files("revokedhostkeys"); err == nil && len(revoked) > 0 {
		if krl, err := isKRL(revoked[0]); err == nil && krl {
			return "RevokedHostKeys is a binary list"
		}
	}
	_, missing := transport(cfg)
	return missing
}
