package packetpath

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// Conditions are told apart by their text and named by it in answers, so that a long one is cut short with its sum behind it.
const (
	maxLabel  = 300
	keepLabel = 200
)

func clip(s string) string {
	if len(s) <= maxLabel {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return strings.ToValidUTF8(s[:keepLabel], "") + fmt.Sprintf("... (sha256 %x)", sum[:16])
}
