/** What Node tells this page: it is in the page itself, so that nothing is waited for. */
export const plan = JSON.parse(document.querySelector("#plan").textContent);

/** Sends Node a value; its answer. */
export async function post(path, value) {
  const answer = await fetch(path, { method: "POST", body: JSON.stringify(value) });
  return answer.json();
}
