package sshtest_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/host/sshhost/sshtest"
)

// TestPacked: an answer that was packed before the question says the same as one that is packed for it.
func TestPacked(t *testing.T) {
	nonces := []string{strings.Repeat("0", 32), "0123456789abcdef0123456789abcdef"}
	var body bytes.Buffer
	for i := range 3000 {
		fmt.Fprintf(&body, "F %d f /proc/%d\x00D\x00%d\nCT=%s\x00", i, rand.IntN(10), rand.IntN(1e9), nonces[0])
	}
	a, err := sshtest.ParseAnswer(append([]byte(sshtest.Marker(nonces[0], "plain")), body.Bytes()...))
	if err != nil {
		t.Fatal(err)
	}
	handler := a.Pack().Canned
	for _, nonce := range nonces {
		var out bytes.Buffer
		if status := handler("sh -s", strings.NewReader("nonce="+nonce+" sample=''\n"), &out, io.Discard); status != 0 {
			t.Fatal(status)
		}
		packed, ok := bytes.CutPrefix(out.Bytes(), []byte(sshtest.Marker(nonce, "gzip")))
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil || !ok {
			t.Fatalf("%v: %.80q", err, out.Bytes())
		}
		if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, a.Body(nonce)) {
			t.Errorf("%v, or another answer", err)
		}
	}
}
