package main

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/go-tdx-guest/verify"
)

// bundle: the common quote-collateral JSON, of which it asks for parts as it would ask Intel's service.
type bundle struct {
	PckCrlIssuerChain     string `json:"pck_crl_issuer_chain"`
	RootCaCrl             string `json:"root_ca_crl"`
	PckCrl                string `json:"pck_crl"`
	TcbInfoIssuerChain    string `json:"tcb_info_issuer_chain"`
	TcbInfo               string `json:"tcb_info"`
	TcbInfoSignature      string `json:"tcb_info_signature"`
	QeIdentityIssuerChain string `json:"qe_identity_issuer_chain"`
	QeIdentity            string `json:"qe_identity"`
	QeIdentitySignature   string `json:"qe_identity_signature"`
}

// Get answers from the bundle what would be asked over the network.
func (given *bundle) Get(address string) (map[string][]string, []byte, error) {
	switch {
	case strings.Contains(address, "/tdx/certification/v4/tcb?"):
		return chain("Tcb-Info-Issuer-Chain", given.TcbInfoIssuerChain),
			signed("tcbInfo", given.TcbInfo, given.TcbInfoSignature), nil
	case strings.Contains(address, "/tdx/certification/v4/qe/identity"):
		return chain("Sgx-Enclave-Identity-Issuer-Chain", given.QeIdentityIssuerChain),
			signed("enclaveIdentity", given.QeIdentity, given.QeIdentitySignature), nil
	case strings.Contains(address, "/pckcrl?"):
		list, err := hex.DecodeString(given.PckCrl)
		return chain("Sgx-Pck-Crl-Issuer-Chain", given.PckCrlIssuerChain), list, err
	case strings.HasSuffix(address, ".der"), strings.HasSuffix(address, ".crl"):
		list, err := hex.DecodeString(given.RootCaCrl)
		return nil, list, err
	}
	return nil, nil, fmt.Errorf("nobody answers %s", address)
}

func chain(header, pem string) map[string][]string {
	return map[string][]string{header: {url.QueryEscape(strings.TrimSpace(pem))}}
}

func signed(name, text, signature string) []byte {
	return []byte(fmt.Sprintf(`{"%s":%s,"signature":"%s"}`, name, text, signature))
}

// verdict: whether the quote is accepted by the given collateral at the given time, revocation and all.
func verdict(one logCase, data []byte, _ int) answer {
	text, roots, err := collateral(one)
	if err != nil {
		return refused(err)
	}
	if err := judged(one, data, text, roots); err != nil {
		return refused(err)
	}
	return answer{"status": "UpToDate"} // it accepts no other
}

// timedVerdict: seconds of each of so many verdicts, from the bytes of quote and collateral.
func timedVerdict(one logCase, data []byte, runs int) answer {
	text, roots, err := collateral(one)
	if err != nil {
		return refused(err)
	}
	seconds := []float64{}
	for run := 0; run < runs; run++ {
		started := time.Now()
		if err := judged(one, data, text, roots); err != nil {
			return refused(err)
		}
		seconds = append(seconds, time.Since(started).Seconds())
	}
	return answer{"seconds": seconds}
}

// collateral: the bundle's text, and the roots to trust, nil for Intel's.
func collateral(one logCase) ([]byte, *x509.CertPool, error) {
	text, err := os.ReadFile(one.Collateral)
	if err != nil || one.Root == "" {
		return text, nil, err
	}
	der, err := hex.DecodeString(one.Root)
	if err != nil {
		return nil, nil, err
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	return text, roots, nil
}

func judged(one logCase, data, text []byte, roots *x509.CertPool) error {
	given := &bundle{}
	if err := json.Unmarshal(text, given); err != nil {
		return err
	}
	return verify.RawTdxQuote(data, &verify.Options{
		CheckRevocations: true,
		GetCollateral:    true,
		Getter:           given,
		Now:              time.Unix(one.At, 0),
		TrustedRoots:     roots,
	})
}
