import { render } from "preact";
import "./style/tokens.css";
import "./style/base.css";
import "./style/start.css";
import "./style/shell.css";
import "./style/facets.css";
import "./style/grid.css";
import "./style/detail.css";
import "./style/panels.css";
import "./style/map.css";
import { follow } from "./state/application.ts";
import { Application } from "./views/application.tsx";

render(<Application />, document.getElementById("app") as HTMLElement);
follow();
