// The wallet of the browser (EIP-1193): the checker's key stays there.

export const hasWallet = () => Boolean(window.ethereum?.request);

export async function account() {
  const [address] = await window.ethereum.request({ method: "eth_requestAccounts" });
  return address.toLowerCase();
}

// Sign a text as wallets do (EIP-191).
export function sign(text, address) {
  const bytes = new TextEncoder().encode(text);
  const hex = `0x${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  return window.ethereum.request({ method: "personal_sign", params: [hex, address] });
}

// The header with which a checker asks (functions/api/auth/signature.py).
export async function checkerHeader(method, path, address) {
  const nonce = String(Date.now());
  return { Authorization: `Checker ${nonce}:${await sign(`sluice checker ${method} ${path} ${nonce}`, address)}` };
}

// Canonical JSON (RFC 8785) of texts, whole numbers, lists and objects: what a decision's signature is over.
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

export const walletProblem = (error) => (error.code === 4001 ? "You have refused in the wallet. Nothing was sent." : error.message || "The wallet does not answer.");
