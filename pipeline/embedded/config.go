package embedded

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// configXML bounds memory and caches for a machine that runs other things too. Without <console> there is no log at all,
// and with it <logger><level> is not obeyed: the level is the top-level one.
const configXML = `<clickhouse>
  <log-level>warning</log-level>
  <logger><console>1</console></logger>
  <max_server_memory_usage>2000000000</max_server_memory_usage>
  <mark_cache_size>67108864</mark_cache_size>
  <users_config>users.xml</users_config>
</clickhouse>
`

// usersXML has two users. The inner session that keeps the server alive logs in as default, which therefore cannot have a
// password and is open to everybody on this machine; its grants are what that session needs and reach no table. Services
// log in as carom.
const usersXML = `<clickhouse>
  <profiles><default/><app><async_insert>0</async_insert></app></profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password></password><networks><ip>::1</ip></networks><profile>default</profile><quota>default</quota>
      <grants>
        <query>GRANT SYSTEM LISTEN ON *.*</query>
        <query>GRANT READ ON FILE</query>
        <query>GRANT CREATE TEMPORARY TABLE ON *.*</query>
      </grants>
    </default>
    <carom>
      <password>%s</password><networks><ip>127.0.0.1</ip></networks><profile>app</profile><quota>default</quota>
    </carom>
  </users>
</clickhouse>
`

// writeConfig writes both files, readable by the owner alone, and returns the path of the first. It is always passed: a
// config.xml that happens to lie in the working directory would be read instead.
func writeConfig(dir, password string) (string, error) {
	var escaped strings.Builder
	if err := xml.EscapeText(&escaped, []byte(password)); err != nil {
		return "", fmt.Errorf("write clickhouse configuration: %w", err)
	}
	config := filepath.Join(dir, "config.xml")
	for path, text := range map[string]string{
		config:                          configXML,
		filepath.Join(dir, "users.xml"): fmt.Sprintf(usersXML, escaped.String()),
	} {
		// WriteFile keeps the mode of a file that exists.
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return "", fmt.Errorf("write clickhouse configuration: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("write clickhouse configuration: %w", err)
		}
	}
	return config, nil
}
