package served

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
)

//go:embed binaries
var binaries embed.FS

// Collector is the static collector for Linux on the architecture, as `uname -m` calls it (x86_64, aarch64): the program,
// and its SHA-256 in hexadecimal digits.
func Collector(machine string) (program []byte, sum string, err error) {
	arch, ok := map[string]string{"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}[machine]
	if !ok {
		return nil, "", fmt.Errorf("no collector for %.40q: there are those for x86_64 and aarch64", machine)
	}
	packed, err := binaries.ReadFile("binaries/collector-linux-" + arch + ".gz")
	if err != nil {
		return nil, "", fmt.Errorf("this ctaudit was built without the collector for %s: build it with make", arch)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, "", fmt.Errorf("unpack the collector for %s: %w", arch, err)
	}
	if program, err = io.ReadAll(z); err != nil {
		return nil, "", fmt.Errorf("unpack the collector for %s: %w", arch, err)
	}
	digest := sha256.Sum256(program)
	return program, hex.EncodeToString(digest[:]), nil
}
