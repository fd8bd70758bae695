// A second opinion on Sigstore bundles: sigstore-go, used as its documentation says.
//
// Reads one JSON request from standard input, {"cases": [{"bundle": PATH, "root": PATH, "artifact": PATH or ""}]}, and
// writes one JSON list with an answer for each case: "error" with "step" (load or verify), or what was verified.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

type bundleCase struct {
	Bundle   string `json:"bundle"`
	Root     string `json:"root"`
	Artifact string `json:"artifact"` // the file that a message signature is over
}

type answer map[string]any

func main() {
	var given struct {
		Cases []bundleCase `json:"cases"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		fail(err)
	}
	verifiers := map[string]*verify.Verifier{}
	answers := []answer{}
	for _, one := range given.Cases {
		if verifiers[one.Root] == nil {
			made, err := verifier(one.Root)
			if err != nil {
				fail(err)
			}
			verifiers[one.Root] = made
		}
		answers = append(answers, judged(one, verifiers[one.Root]))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(2)
}

// verifier asks for what we ask for: an SCT, a log entry, and a time from the log or from an authority.
func verifier(path string) (*verify.Verifier, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	trusted, err := root.NewTrustedRootFromJSON(data)
	if err != nil {
		return nil, err
	}
	return verify.NewVerifier(trusted, verify.WithSignedCertificateTimestamps(1), verify.WithTransparencyLog(1),
		verify.WithObserverTimestamps(1))
}

// judged: whoever signed is accepted. A panic is an answer of its own, which no test expects.
func judged(one bundleCase, with *verify.Verifier) (said answer) {
	defer func() {
		if found := recover(); found != nil {
			said = answer{"step": "panic", "error": fmt.Sprint(found)}
		}
	}()
	loaded, err := bundle.LoadJSONFromPath(one.Bundle)
	if err != nil {
		return answer{"step": "load", "error": err.Error()}
	}
	artifact, err := about(one.Artifact)
	if err != nil {
		fail(err)
	}
	result, err := with.Verify(loaded, verify.NewPolicy(artifact, verify.WithoutIdentitiesUnsafe()))
	if err != nil {
		return answer{"step": "verify", "error": err.Error()}
	}
	payload := sha256.Sum256(loaded.GetDsseEnvelope().GetPayload())
	return answer{
		"payload":     hex.EncodeToString(payload[:]),
		"certificate": result.Signature.Certificate,
		"times":       result.VerifiedTimestamps,
	}
}

func about(path string) (verify.ArtifactPolicyOption, error) {
	if path == "" {
		return verify.WithoutArtifactUnsafe(), nil
	}
	data, err := os.ReadFile(path)
	return verify.WithArtifact(bytes.NewReader(data)), err
}
