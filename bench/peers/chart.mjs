export function chart() {
  return "<svg/>";
}
