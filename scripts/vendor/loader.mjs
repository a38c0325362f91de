export { instantiate } from "@assemblyscript/loader";
