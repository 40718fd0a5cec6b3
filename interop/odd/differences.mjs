// Where our client refuses what JavaScript's takes, each with its reason: the table of
// docs/protocol-notes.md, "Odd servers".
const CIPHERS = "rustls has no ciphers without forward secrecy, with CBC or with finite fields";
const CURVES = "ring, which does the cryptography, has neither this curve nor this hash with its curve";
const CUT = "a payload that was cut between two packets looks whole";
const TUNNEL = "what follows the head is the tunnel's (RFC 9110, 9.3.6); the JavaScript agent drops what comes with the head, and fails when it comes later";

export const DIFFERENCES = {
  "a message ahead of the open packet": "no server sends one, and a page that begins with 4 looks like it",
  "an empty packet": "it ends both over WebSocket: after the upgrade, which is sooner here",
  "HTTP/1.2": "there is no such version",
  "no UTF-8 in a text": "it ends both, where it is sent: after the upgrade, which is sooner here",
  "maxPayload is one": "a message larger than the server takes is refused where it is emitted",
  "maxPayload is ten": "a message larger than the server takes is refused where it is emitted",
  "the sid is missing": "nothing but one WebSocket works without it, and no server leaves it out",
  "the sid is empty": "nothing but one WebSocket works with it, and no server sends one",
  // TLS.
  "TLS 1.2 without a curve": CIPHERS,
  "TLS 1.2 with CBC alone": CIPHERS,
  "TLS 1.2 with DHE alone": CIPHERS,
  "P-521 alone": CURVES,
  "X448 alone": CURVES,
  "P-521": CURVES,
  "an authority of P-521": CURVES,
  "signed with SHA-512": CURVES,
  "RSA-PSS": "webpki knows no keys that are for RSA-PSS alone",
  "RSA of 1024 bits": "it is too short to be safe; browsers refuse it",
  "its name in the subject alone": "browsers look at subjectAltName alone, too",
  "without extensions": "it has no subjectAltName, see above",
  "bodies that end without close_notify": CUT,
  "bodies that end without close_notify, TLS 1.2 alone": CUT,
  // Proxies.
  "the proxy's http in lower case": "there is no such version; the JavaScript agent does not look at it",
  "a line of the 200: NUL in a value": "there is no NUL in HTTP; the JavaScript agent does not look at it",
  "a chunked body": TUNNEL,
  "an empty chunked body": TUNNEL,
  "a body with a length": TUNNEL,
  "an empty line behind the head": TUNNEL,
  // Cookies: browsers do so, too.
  "a value in quotes": "quotes are a part of the value, as for browsers",
  "another path, and has to come back": "it is not for this path, as for browsers",
  "another domain, and has to come back": "the server may not set it, as for browsers",
  "Secure, and has to come back": "it is for TLS alone",
  "one of 6,000 bytes, and has to come back": "4 KiB are kept, as by browsers",
  "two hundred, and first the one that matters": "180 are kept of a host, as by browsers",
  "10,000 bytes in all, and first the one that matters": "8 KiB are sent, since servers refuse longer heads: the oldest are left out",
};
