/**
 * The name of the model below a URL: for people, and for the keys of what is stored. The query is
 * part of it (`?v=2` may hold other weights than `?v=1`), what only opens the door is not. A name
 * must stay the same when a signature is renewed, else each visit would load the model anew; and it
 * is kept on disk and shown, where no secret belongs. So userinfo, tokens and signatures are left
 * out: who may read is the server's affair, and two tokens for one address mean one model. The path
 * is kept whole, since it says which bytes; a secret in it cannot be told from a folder.
 */
export function modelName(url: URL): string {
  const parts = url.search
    .slice(1)
    .split("&")
    .filter((part) => part !== "");
  const names = parts.map((part) => parameterOf(part).name.toLowerCase());
  const companions = SIGNED.filter(({ by }) => names.includes(by)).flatMap(({ withIt }) => withIt);
  const kept = parts.filter((part, index) => !companions.includes(names[index]!) && !isSecret(parameterOf(part)));
  return url.origin + url.pathname + (kept.length > 0 ? `?${kept.join("&")}` : "");
}

/** Names of parameters that are a secret, or belong to a signature, wherever they stand. */
const SECRET =
  /^(x-(amz|goog)-.*|(.*[-_.])?(token|secret|pass(word|wd)?|pwd|credentials?|auth|authorization|jwt|sess(ion)?|sig|signature|hmac|hdne[at])([-_.]?id)?|.*(api|access|private|secret)[-_.]?key(id|[-_.]id)?|googleaccessid|accesstoken|authtoken)$/i;

/** Values that are a secret whatever they are called: a JSON Web Token, keys of the Hub, GitHub, Google. */
const TOKEN = /^(eyJ[\w-]+\.[\w-]+\.[\w-]*|(hf|gh[opsu]|github_pat)_\w{16,}|AIza[\w-]{20,})$/;

/** A parameter that is called `key` is a secret if it is long enough for one. */
const LONG_KEY = /^[\w+/=-]{20,}$/;

/**
 * Parameters that belong to a signature, and mean something else without one: Azure's, those of
 * CloudFront and of the older ones of S3 and Google.
 */
const SIGNED = [
  { by: "sig", withIt: "sv ss srt sr sp spr se st sip sdd skoid sktid skt ske sks skv saoid suoid scid".split(" ") },
  { by: "signature", withIt: ["expires", "policy", "key-pair-id"] },
];

interface Parameter {
  readonly name: string;
  readonly value: string;
}

function isSecret({ name, value }: Parameter): boolean {
  return SECRET.test(name) || TOKEN.test(value) || (/^key$/i.test(name) && LONG_KEY.test(value));
}

function parameterOf(part: string): Parameter {
  const [[name = "", value = ""] = []] = new URLSearchParams(part);
  return { name, value };
}
