/** A tag without quotes and weakness mark, as stores hand it out; undefined when there is none. */
export function bareEtag(header: string | undefined): string | undefined {
  const tag = header
    ?.trim()
    .replace(/^W\//, "")
    .replace(/^"(.*)"$/, "$1");
  return tag === "" ? undefined : tag;
}

/** How a server wants If-Match. RFC 9110 says quoted; Ceph's gateway knows only the bare form. */
export type EtagStyle = "quoted" | "bare";

export function styledEtag(etag: string, style: EtagStyle): string {
  return style === "quoted" ? `"${etag}"` : etag;
}

/** Whether it can be the tag of anything: what RFC 9110 allows between the quotes, within reason. */
export function isEtag(text: string): boolean {
  return /^[!#-~]{1,1024}$/.test(text);
}
