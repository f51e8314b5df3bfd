// Hadoop's file system on this machine, of one NameNode and one DataNode. Told what to do on its standard input, a line a command; each command's
// answers end with `done` or `failed WHY`. Arguments: DIRECTORY.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.MiniDFSCluster;

public class FileSystem {
    public static void main(String[] args) throws Exception {
        Configuration config = new Configuration();
        config.set(MiniDFSCluster.HDFS_MINIDFS_BASEDIR, args[0]);
        MiniDFSCluster cluster = new MiniDFSCluster.Builder(config).numDataNodes(1).build();
        cluster.waitActive();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String command = commands.readLine(); command != null; command = commands.readLine()) {
            if (command.equals("uri")) {
                System.out.println(cluster.getURI());
                System.out.println("done");
            } else {
                System.out.println("failed " + command);
            }
        }
        cluster.shutdown();
    }
}
