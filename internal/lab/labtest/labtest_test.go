package labtest

import "testing"

func TestRequiredList(t *testing.T) {
	tests := []struct {
		list, feature string
		want          bool
	}{
		{"", "nft", false},
		{"nft", "nft", true},
		{"root,nft", "nft", true},
		{"root nft", "nft", true},
		{"iptables-legacy", "iptables", false},
		{"all", "nft", true},
	}
	for _, tt := range tests {
		if got := required(tt.list, tt.feature); got != tt.want {
			t.Errorf("required(%q, %q) = %v, want %v", tt.list, tt.feature, got, tt.want)
		}
	}
}

func TestRequireSkipsWithoutTheFeature(t *testing.T) {
	t.Setenv(requireEnv, "")
	reached := false
	t.Run("inner", func(t *testing.T) {
		Require(t, "firewalld", "ufw", "sshd", "docker", "xmllint", "ipset")
		reached = true
	})
	want := true
	for _, feature := range []string{"firewalld", "ufw", "sshd", "docker", "xmllint", "ipset"} {
		want = want && probes()[feature]() == nil
	}
	if reached != want {
		t.Errorf("test body ran: %v, features present: %v", reached, want)
	}
}
