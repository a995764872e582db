package main

import (
	"fmt"

	"github.com/agnivade/levenshtein"
)

// didYouMean names the known word nearest to a misspelt one, or nothing when none is near.
func didYouMean(word string, known []string) string {
	best, at := 3, ""
	for _, k := range known {
		if d := levenshtein.ComputeDistance(word, k); d < best {
			best, at = d, k
		}
	}
	if at == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", at)
}
